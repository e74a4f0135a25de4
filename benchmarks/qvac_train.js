// Trains a LoRA adapter with QVAC (npm @qvac/llm-llamacpp) and prints a line of JSON for every step.
// Run by train_qvac.py: bare qvac_train.js MODEL.gguf TEXT.txt OUT_FOLDER THREADS ROW_TOKENS
const LlmLlamacpp = require('@qvac/llm-llamacpp')

const [model, text, out, threads, rowTokens] = Bare.argv.slice(2)

async function main () {
  const llm = new LlmLlamacpp({
    files: { model: [model] },
    config: { device: 'cpu', gpu_layers: '0', threads, ctx_size: rowTokens, verbosity: '0' },
    opts: { stats: true }
  })
  await llm.load()
  const run = await llm.finetune({
    trainDatasetDir: text,
    validation: { type: 'none' },
    outputParametersDir: out,
    checkpointSaveDir: out,
    numberOfEpochs: 1,
    contextLength: Number(rowTokens),
    batchSize: Number(rowTokens),
    microBatchSize: Number(rowTokens),
    loraModules: 'attn_q,attn_k,attn_v,attn_o',
    loraRank: 8,
    loraAlpha: 16,
    learningRate: 1e-4,
    lrMin: 1e-5
  })
  run.on('stats', (s) => console.log(JSON.stringify({ step: s.global_steps, milliseconds: s.elapsed_ms, loss: s.loss })))
  console.log(JSON.stringify({ result: (await run.await()).status }))
  await llm.unload()
}

main().catch((error) => { console.log(JSON.stringify({ error: String(error) })); Bare.exit(1) })
