"""Talking to it in the terminal: turns, questions about earlier replies between them, and commands."""

import sys

from ..errors import IdleTuneError, UsageError
from ..progress import Progress
from ..runtime import Runtime
from . import show

HELP = """\
/train          learn now from what you answered     /status      what it knows and serves
/rollback       back to the adapter before           /forget ID   remove a dialogue set and all made of it
/sets           the dialogue sets it keeps           /new         start a new conversation
/help           this                                 /quit        leave (or end of input)"""
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
        while (line := self._ask("> ")) is not None and line not in ("/quit", "/exit"):
            if line:
                self.turn(line)

    def turn(self, line: str) -> None:
        """One line of the user's; an error of the user's is shown and the conversation goes on."""
        try:
            if line.startswith("/"):
                self._command(line)
            else:
                self.runtime.chat(line, on_text=self.write)
                self.write("\n")
                self.ask_prompt()
        except IdleTuneError as error:
            self.write(f"{error}\n")

    def ask_prompt(self) -> None:
        """Put the day's next question, if there is one."""
        prompt = self.runtime.next_prompt()
        if prompt is None:
            return
        self.write(f"\n   about {prompt.question!r} I said {prompt.reply!r}\n")
        queue, choice = self.runtime.queue, (self._ask(ASKING) or "").lower()[:1]
        if choice == "y":
            queue.accept(prompt.id)
        elif choice == "n":
            better = self._ask("   better: ")
            queue.edit(prompt.id, better or "")
        elif choice == "s":
            queue.dismiss(prompt.id)
        elif choice == "v":
            queue.never_ask(prompt.id)
        else:
            self.write("   I will ask again.\n")

    def train(self, _: str) -> None:
        report = self.runtime.learn(bars=Progress)
        verdict = report.verdict
        self.write(f"{'learned' if verdict.promoted else 'kept the old one'}: {verdict.reason}\n")

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
