"""IdleTune on Android by way of Termux: two jobs, a wake lock, and questions as notifications.

- Android starts a job's script and forgets it: no time limit, no stop when the phone is unplugged. So the
  learning job is `idletune tick`, which looks after itself. Nobody sees what a job prints, so that of its last
  run is kept in a file, for `idletune status`.
- A typed answer is the user's, or of whoever holds the phone: Termux:API puts it between double quotes into
  a shell command line, escaping nothing but double quotes. Here it lands in a quoted heredoc, which the
  shell reads not a character of, and never in an argument list. The heredoc's end begins with a double
  quote: no line of a reply can, for its own are escaped. And nobody can guess the rest.
- What a notification shows goes by standard input, so that no process list holds it.
- What is approved is what was shown: a text that needs several pages has the button Good on its last one alone, and
  so have First and Second, where the question is which of two replies is better.
- Termux:API 0.51 runs the action it was first given, whatever button is pressed. The first
  one of ours shows the question again, so that there no button records what the user did not say.
"""

import os
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UsageError
from ..plain_text import one_line
from ..state.annotation import Prompt
from ..state.home import own_files, own_folder
from .pages import pages
from .programs import output_of, run

PROGRAMS = "termux-job-scheduler", "termux-notification", "termux-notification-remove", "termux-battery-status"
LEARN_JOB, ASK_JOB = "7701", "7702"
LEARN_PERIOD_MS, ASK_PERIOD_MS = 15 * 60_000, 60 * 60_000  # 15 minutes is Android's least
NOTIFICATION = "idletune-question"
KEPT_VARIABLES = "PATH", "LLAMA_CPP_LIB_PATH", "LD_LIBRARY_PATH", "PYTHONPATH"
JOBS = "learn", "ask"  # scripts that Android starts
FOLDER = "termux"  # folder of the scripts and of what they said last, in the home
_GOOD = ("Good", "good"), ("Edit", "edit"), ("Skip", "skip")
_WHICH = ("First", "first"), ("Second", "second"), ("Neither", "skip")
REPLY, MARK = "$REPLY", ">"

LEARN = """\
# One look, and a slice of learning if the window is open. A killed slice leaves the wake lock held.
{idletune} tick {options} >{log} 2>&1
code=$?
[ $code -le 128 ] || {{ termux-wake-unlock; echo "killed by signal $((code - 128))" >>{log}; }}
"""
ASK = """\
exec {idletune} ask --notify {options} "$@" >{log} 2>&1
"""
ANSWER = """\
exec {idletune} answer --notify {options} "$@"
"""
SCRIPTS = {"learn": LEARN, "ask": ASK, "answer": ANSWER}


def available() -> bool:
    return shutil.which("termux-job-scheduler") is not None


def install(home: Path, options: list[str]) -> str:
    """Write the scripts into `home`/termux and schedule the jobs; says what was scheduled.

    `options` (--model, --set ...) go to each command of the scripts; paths in them must be absolute.
    A second call replaces what the first did. Raises UsageError where Termux:API is missing or refuses.
    """
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        raise UsageError(f"no {missing[0]} here; in Termux: pkg install termux-api, and the Termux:API app")
    if not re.fullmatch(r"[^\x00-\x1f$]+", str(home.resolve())):
        raise UsageError(f"the home {home} has a $ or a control character in its path; use another --home")
    folder = own_folder(home.resolve(), FOLDER)
    for name, body in SCRIPTS.items():
        _write_script(folder / name, body, home, options)
    always = ["--persisted", "true", "--network", "none"]
    charging = [*always, "--charging", "true", "--period-ms", str(LEARN_PERIOD_MS)]
    told = [_schedule(LEARN_JOB, folder / "learn", charging)]
    told.append(_schedule(ASK_JOB, folder / "ask", [*always, "--period-ms", str(ASK_PERIOD_MS)]))
    return "\n".join(told)


def settings_in_scripts(home: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Those of the settings named that a script of ours carries: `install` wrote all of them once."""
    found = {}
    for path in _scripts(home):
        words = _words(path.read_text(encoding="utf-8"))
        pairs = [word.split("=", 1) for option, word in zip(words, words[1:]) if option == "--set" and "=" in word]
        found.update({name: value for name, value in pairs if name in names})
    return found


def remove_settings(home: Path, settings: dict[str, str]) -> None:
    """Take settings out of the scripts, each replaced whole: the shell may be reading it."""
    for path in _scripts(home):
        text = path.read_text(encoding="utf-8")
        for name, value in settings.items():
            text = text.replace(" " + shlex.join(["--set", f"{name}={value}"]), "")
        partial = path.with_suffix(".part")
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o700)
        os.replace(partial, path)


def remove(home: Path) -> None:
    """Undo `install`: jobs, notification and scripts. What was learned and answered stays."""
    dismiss(home)
    for job in (LEARN_JOB, ASK_JOB):
        run(["termux-job-scheduler", "--cancel", "--job-id", job])
    folder = scripts_folder(home)
    for path in own_files(folder) if is_installed(home) else ():
        path.unlink(missing_ok=True)
    with suppress(OSError):  # not there, or with somebody's files in it
        folder.rmdir()


def is_installed(home: Path) -> bool:
    folder = scripts_folder(home)
    return folder.is_dir() and not folder.is_symlink()


def scripts_folder(home: Path) -> Path:
    return home.resolve() / FOLDER


def last_runs(home: Path) -> dict[str, dict]:
    """When each of the JOBS last ran (`at`, seconds since 1970) and the last line it printed (`said`)."""
    found = {}
    for name in JOBS:
        log = _log(scripts_folder(home) / name)
        if log.is_file():
            lines = log.read_text(encoding="utf-8", errors="replace").strip().split("\n")
            found[name] = {"at": log.stat().st_mtime, "said": lines[-1]}
    return found


@contextmanager
def wake_lock() -> Iterator[None]:
    """Keep the processor awake inside the block, where Termux can."""
    if not shutil.which("termux-wake-lock"):
        yield
        return
    output_of(["termux-wake-lock"])
    try:
        yield
    finally:
        output_of(["termux-wake-unlock"])


def show(prompt: Prompt, home: Path, note: str = "", page: int = 1) -> None:
    """Put a question up as a notification with the buttons Good, Edit (typed in place) and Skip; or First, Second and
    Neither, where it offers two replies.

    Where it takes several pages, all but the last have the button More in the place of what approves.
    """
    if not (scripts_folder(home) / "answer").is_file():
        raise UsageError("the notification's buttons have no script; run idletune termux install first")
    texts, (title, replies, verdicts) = [_plain(note)] if note else [], _asked(prompt)
    all_pages = pages("\n".join([*texts, f"You: {_plain(prompt.question)}", *replies]))
    page = min(page, len(all_pages))
    buttons = [(label, action(home, verdict, prompt)) for label, verdict in verdicts]
    if page < len(all_pages):
        more = "More", f"{_asking(home)} --page {page + 1} --shown {prompt.shown}"
        buttons = [more, *buttons[-1 if prompt.second is not None else 1 :]]
    command = ["termux-notification", "--id", NOTIFICATION, "--title", title, "--alert-once"]
    command += ["--action", _asking(home)]
    for number, (label, pressed) in enumerate(buttons, start=1):
        command += [f"--button{number}", label, f"--button{number}-action", pressed]
    # Termux:API shows more than one line only of a content that has a line's end.
    part = f"{page} of {len(all_pages)}\n" if len(all_pages) > 1 else ""
    run(command, input=part + all_pages[page - 1])


def _asked(prompt: Prompt) -> tuple[str, list[str], tuple[tuple[str, str], ...]]:
    """The question itself, the lines of what was answered, and the buttons with their verdicts."""
    if prompt.second is None:
        return "Was this a good answer?", [f"It: {_plain(prompt.reply)}"], _GOOD
    replies = [f"First: {_plain(prompt.reply)}", f"Second: {_plain(prompt.second)}"]
    return "Which answer is better?", replies, _WHICH


def dismiss(home: Path) -> None:
    """Take the question off the screen; one that is still open comes again with the next `ask`."""
    if is_installed(home):
        output_of(["termux-notification-remove", NOTIFICATION])


def action(home: Path, verdict: str, prompt: Prompt) -> str:
    """The shell command of a button. Termux:API replaces $REPLY in it by the typed text between quotes."""
    command = f"{shlex.quote(str(scripts_folder(home) / 'answer'))} {verdict} {prompt.id} --shown {prompt.shown}"
    if verdict != "edit":
        return command
    # The mark keeps the reply's opening quote off the line's beginning. Of a line that begins as the end does,
    # dash loses the next byte if it is not ASCII.
    end = f'"{secrets.token_hex(16)}'
    return f"{command} <<'{end}'\n{MARK}{REPLY}\n{end}\n"


def typed_text(spliced: str) -> str:
    """The text the user typed, from what reaches standard input: the mark, then in quotes, with \\" for a quote.

    Raises UsageError for a text without these; it did not come from a reply.
    """
    typed, start = spliced.removesuffix("\n"), f'{MARK}"'
    if len(typed) <= len(start) or not typed.startswith(start) or typed[-1] != '"':
        raise UsageError(f"{len(typed)} characters that are no direct reply; answer from the notification")
    return typed[len(start) : -1].replace('\\"', '"')


def _scripts(home: Path) -> list[Path]:
    return [path for path in (scripts_folder(home) / name for name in SCRIPTS) if path.is_file()]


def _words(script: str) -> list[str]:
    """As the shell reads them; of a script that somebody edited, whatever can be read."""
    try:
        return shlex.split(script)
    except ValueError:
        return script.split()


def _asking(home: Path) -> str:
    return shlex.quote(str(scripts_folder(home) / "ask"))


def _log(script: Path) -> Path:
    return script.with_suffix(".log")


def _write_script(path: Path, body: str, home: Path, options: list[str]) -> None:
    """Termux starts scripts with another environment than the one we run in now; so they bring it along."""
    shell = shutil.which("sh") or "/bin/sh"
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if os.environ.get(name)}
    exports = "\n".join(
        f"export {name}={shlex.quote(value)}" for name, value in {**kept, "IDLETUNE_HOME": str(home.resolve())}.items()
    )
    body = body.format(
        idletune=f"{shlex.quote(sys.executable)} -m idletune.commands.cli",
        options=shlex.join(options),
        log=shlex.quote(str(_log(path))),
    )
    script = f"#!{shell}\n# Written by `idletune termux install`.\n{exports}\n{body}"
    path.write_bytes(os.fsencode(script))  # a path in it need not be UTF-8
    path.chmod(0o700)


def _schedule(job: str, script: Path, options: list[str]) -> str:
    told = run(["termux-job-scheduler", "--job-id", job, "--script", str(script), *options])
    line = next((line for line in told.splitlines() if line.startswith("Scheduling")), told.strip())
    if not line.endswith("response 1"):
        raise UsageError(f"Android did not take job {job}: {line or 'no answer'}; is the Termux:API app installed?")
    return line


def _plain(text: str) -> str:
    return one_line(text)
