// Builds the page: `node build.mjs [FOLDER]`, as it ships in device/idletune/web/page.
// No names with hashes and no source maps: the same sources give the same bytes, which a test compares.
import { build } from "esbuild";
import { cp, mkdir, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "..", "idletune", "web", "page"));

await rm(out, { recursive: true, force: true });
await mkdir(join(out, "assets"), { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx", style: "src/style.css" },
  outdir: join(out, "assets"),
  bundle: true,
  minify: true,
  legalComments: "none",
  target: ["chrome90", "firefox90", "safari15"],
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
});
await cp(join(here, "static"), out, { recursive: true });
