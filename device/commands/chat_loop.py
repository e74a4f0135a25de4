"""Talking to it in the terminal: turns, questions about earlier replies between them, and commands."""

import sys

from ..errors import IdleTuneError, UsageError
from ..progress import Progress
from ..runtime import Runtime
from . import show
from .interrupts import interruptible

HELP = """\
/train          learn now from what you answered     /status      what it knows and serves
/rollback       back to the adapter before           /forget ID   remove a dialogue set and all made of it
/sets           the dialogue sets it keeps           /new         start a new conversation
/help           this                                 /quit        leave (or end of input)
Ctrl-C          end a reply, or /train, which goes on from there the next time"""
ASKING = "   was this a good answer? [y]es, [n]o and write a better one, [s]kip, ne[v]er ask about this: "


class ChatLoop:
    """Reads lines until the end of input; `read` and `write` are replaced in tests."""

    def __init__(self, runtime: Runtime, read=None, write=None):
        self.runtime, self.read = runtime, read or input
        self.write = write or self._print
        self.commands = {
            "/train": self.train, "/status": self.status, "/rollback": self.rollback, "/forget": self.forget,
            "/sets": self.sets, "/new": self.new, "/help": self.help,
        }

    def run(self) -> None:
        self.write("Talk to it; /help lists the commands.\n")
        line = self._ask("> ")
        while line is not None and line not in ("/quit", "/exit"):
            line = self.turn(line) or self._ask("> ")

    def turn(self, line: str) -> str | None:
        """One line of the user's; an error of the user's is shown and the conversation goes on.

        Returns what the user said instead of answering a question: the next line.
        """
        try:
            if line.startswith("/"):
                self._command(line)
            elif line:
                return self._chat(line)
        except IdleTuneError as error:
            self.write(f"{error}\n")
        return None

    def ask_prompt(self) -> str | None:
        """Put the day's next question, if there is one; returns what was said if it was no verdict.

        Whoever is in the middle of a conversation may just go on: only the whole words count.
        """
        prompt = self.runtime.next_prompt()
        if prompt is None:
            return None
        self.write(f"\n   about {prompt.question!r} I said {prompt.reply!r}\n")
        queue, said = self.runtime.queue, self._ask(ASKING)
        word = (said or "").lower()
        if word in ("y", "yes"):
            queue.accept(prompt.id)
        elif word in ("n", "no"):
            queue.edit(prompt.id, self._ask("   better: ") or "")
        elif word in ("s", "skip"):
            queue.dismiss(prompt.id)
        elif word in ("v", "never"):
            queue.never_ask(prompt.id)
        else:
            self.write("   I will ask again.\n")
            return said
        return None

    def train(self, _: str) -> None:
        with interruptible() as interrupted:
            report = self.runtime.learn(interrupted, bars=Progress)
        if report.finished:
            verdict = report.verdict
            self.write(f"{'learned' if verdict.promoted else 'kept the old one'}: {verdict.reason}\n")
        elif interrupted():
            self.write(f"stopped during {report.stage}; /train goes on from there\n")
        else:
            self.write(f"stopped during {report.stage}, a dialogue set was forgotten; /train begins without it\n")

    def status(self, _: str) -> None:
        self.write(show.status_page(self.runtime.status()) + "\n")

    def rollback(self, _: str) -> None:
        adapter = self.runtime.rollback()
        self.write(f"serving {f'adapter {adapter.version}' if adapter else 'the base model alone'}\n")

    def forget(self, argument: str) -> None:
        if not argument.isdecimal():
            raise UsageError("/forget takes the number of a dialogue set; /sets lists them")
        dropped = self.runtime.forget(int(argument))
        versions = ", ".join(map(str, dropped))
        self.write(f"forgotten{f', and adapter {versions} with it' if dropped else ''}\n")

    def sets(self, _: str) -> None:
        for kept in self.runtime.buffer.sets():
            mark = "answered" if kept.response is not None else ""
            self.write(f"{kept.id:5}  {kept.domain:12} {mark:9} {' '.join(kept.question.split())[:70]}\n")

    def new(self, _: str) -> None:
        self.runtime.new_conversation()

    def help(self, _: str) -> None:
        self.write(HELP + "\n")

    def _chat(self, line: str) -> str | None:
        with interruptible() as interrupted:
            reply = self.runtime.chat(line, on_text=self.write, should_stop=interrupted)
        if reply.stop == "asked":
            self.write("\n   stopped; nothing of it is kept\n")
            return None
        self.write(f"\n   not kept: {reply.unobserved}\n" if reply.unobserved else "\n")
        return self.ask_prompt()

    def _command(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name not in self.commands:
            raise UsageError(f"no command {name}; /help lists them")
        self.commands[name](argument.strip())

    def _ask(self, question: str) -> str | None:
        """A line of the user's, None at the end of input."""
        try:
            return self.read(question).strip()
        except EOFError:
            return None

    @staticmethod
    def _print(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
