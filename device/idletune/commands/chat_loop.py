"""Talking to it in the terminal: turns, questions about earlier replies between them, and commands.

Messages and verdicts come by one stream of input, so a verdict is a command, which no message is: it begins with a
slash and is a single line (but for the text of /better).
"""

import sys
from collections.abc import Callable

from ..errors import IdleTuneError, UsageError
from ..plain_text import one_line, safe_text
from ..progress import Progress
from ..runtime import Runtime
from ..runtime.completions import new_id
from ..schedule import speech
from ..state.annotation import Prompt
from ..state.origins import TERMINAL
from ..state.reach import REACHES
from . import show
from .interrupts import interruptible
from .typed_text import held_input, make_reader

HELP = """\
/good           the answer asked about was good      /better TEXT   no; this would have been (alone: asks for it)
/skip           no verdict on it                     /never         nor ever ask about this again
/speak          say a message; /better /speak: the better answer (Termux, setting speech)
/other          another answer to your message; then /first or /second says which is better
/train          learn now from what you answered     /status      what it knows and serves
/rollback       back to the adapter before           /forget ID   remove a dialogue set and all made of it
/promote N      serve an adapter that was held back
/sets           the dialogue sets it keeps           /new         start a new conversation
/help           this                                 /quit        leave (or end of input)
Ctrl-C          end a reply, or /train, which goes on from there the next time; on a line: begin it anew
Anything else is a message. Enter sends it, Alt-Enter begins a new line, a pasted text is one message."""
WHICH = "   which is better? /first or /second, /better TEXT, /skip or /never; or just go on talking\n"
ASKING = "   was this a good answer? /good, /better TEXT, /skip or /never; or just go on talking\n"
CHOSEN = "kept as the better answer"
CHOOSING = "   which is better? /first or /second; or just go on talking\n"
NO_ANSWER = "no answer: thinking took all reply_tokens; raise them, or set thinking to false"
LEAVING = "Ctrl-D or /quit leaves; Ctrl-C once more, too\n"


class ChatLoop:
    """Reads messages and commands until the end of input; `read` and `write` are replaced in tests."""

    def __init__(self, runtime: Runtime, read=None, write=None):
        self.runtime, self.read = runtime, read or make_reader()
        self.write = write or self._print
        self.asked: Prompt | None = None  # the question right above, which a verdict is about
        self.last = ""  # the completion of the last reply
        self.two: tuple[str, str] | None = None  # completions right above, of which the user may prefer one
        self.left = False
        self.told_of_speech = False  # where the words go
        self.commands = {
            "/good": self.good,
            "/better": self.better,
            "/skip": self.skip,
            "/never": self.never,
            "/speak": self.speak,
            "/other": self.other,
            "/first": lambda _: self._prefer(0),
            "/second": lambda _: self._prefer(1),
            "/train": self.train,
            "/status": self.status,
            "/rollback": self.rollback,
            "/promote": self.promote,
            "/forget": self.forget,
            "/sets": self.sets,
            "/new": self.new,
            "/help": self.help,
            "/quit": self.quit,
            "/exit": self.quit,
        }

    def run(self) -> None:
        self.write("Talk to it; /help lists the commands.\n")
        while not self.left and (text := self._next()) is not None:
            self.turn(text)

    def turn(self, text: str) -> None:
        """A message or a command; an error of the user's is shown and the conversation goes on."""
        try:
            if is_command(text):
                self._command(text)
            elif text.strip():
                self._chat(text.strip())
        except IdleTuneError as error:
            self.write(f"{error}\n")

    def ask_prompt(self) -> None:
        """Show the day's next question, if there is one. Whoever is in the middle of a conversation may just go on."""
        self.asked = prompt = self.runtime.next_prompt()
        if prompt is None:
            return
        said = f"\n   about '{one_line(prompt.question)}' I said '{one_line(prompt.reply)}'\n"
        or_said = "" if prompt.second is None else f"   or I would say '{one_line(prompt.second)}'\n"
        self.write(said + (or_said + WHICH if or_said else ASKING))

    def good(self, _: str) -> None:
        self._close(lambda asked: self.runtime.queue.accept(asked.id, TERMINAL, asked.shown), "kept as a good answer")

    def better(self, text: str) -> None:
        """The text, or what is typed or said next; another command in its place is a command."""
        prompt = self._open_prompt()
        text = text or self._typed("   better: ")
        if text.strip() == "/speak":
            text = self._spoken()
        if is_command(text) and text.split()[0] in self.commands:
            self.turn(text)
        elif text.strip():
            edit = self.runtime.queue.edit
            self._close(lambda asked: edit(asked.id, text, TERMINAL, asked.shown), "kept your answer instead")
        else:
            self.write(f"   nothing was written; the question about '{one_line(prompt.question)}' stays open\n")

    def skip(self, _: str) -> None:
        self._close(lambda asked: self.runtime.queue.dismiss(asked.id, asked.shown), "no verdict")

    def never(self, _: str) -> None:
        never = self.runtime.queue.never_ask
        self._close(lambda asked: never(asked.id, asked.shown), "never asked about again, and not kept")

    def speak(self, _: str) -> None:
        """A message, or a command that was typed in its place."""
        if text := self._spoken():
            self.turn(text)

    def other(self, _: str) -> None:
        """Another answer to the last message."""
        second = new_id()
        with interruptible() as interrupted, held_input():
            streamed = _StreamedReply(self.write)
            reply = self.runtime.another(
                self.last, streamed.answer, interrupted, "", TERMINAL, streamed.thought, second
            )
        if reply.stop != "asked":
            self.asked, self.two = None, (self.last, second)
        self.write("\n   stopped\n" if self.two is None else f"\n{CHOOSING}")

    def _prefer(self, number: int) -> None:
        if self.two is None and self.asked is not None and self.asked.second is not None:
            choose = self.runtime.queue.choose_shown
            return self._close(lambda asked: choose(asked.id, number == 1, TERMINAL, asked.shown), CHOSEN)
        if self.two is None:
            raise UsageError("there are no two answers to choose from; /other gives another one")
        self.runtime.prefer(self.two[number], self.two[1 - number], TERMINAL)
        self.two = None
        self.write(f"   {CHOSEN}\n")

    def train(self, _: str) -> None:
        with interruptible() as interrupted, held_input():
            report = self.runtime.learn(interrupted, bars=Progress)
        verdict = report.verdict
        if verdict is not None:
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

    def promote(self, argument: str) -> None:
        if not argument.isdecimal():
            raise UsageError("/promote takes the number of the adapter that was held back; /status names it")
        self.write(f"serving adapter {self.runtime.promote(int(argument)).version}\n")

    def forget(self, argument: str) -> None:
        number, _, how = argument.partition(" ")
        if not number.isdecimal() or how not in ("", "preview", *REACHES):
            ways = ", ".join(REACHES)
            raise UsageError(f"/forget takes the number of a dialogue set, then preview or {ways}; /sets lists them")
        if how == "preview":
            self.write(f"would forget: {self.runtime.preview_forget(int(number))}\n")
            return
        self.write(f"forgotten: {self.runtime.forget(int(number), how or REACHES[0])}\n")

    def sets(self, _: str) -> None:
        for kept in self.runtime.buffer.sets():
            mark = "answered" if kept.response is not None else ""
            self.write(f"{kept.id:5}  {kept.domain:12} {mark:9} {one_line(kept.question, 70)}\n")

    def new(self, _: str) -> None:
        self.runtime.new_conversation()

    def help(self, _: str) -> None:
        self.write(HELP + "\n")

    def quit(self, _: str) -> None:
        self.left = True

    def _chat(self, message: str) -> None:
        self.asked = self.two = None
        self.last = new_id()
        with interruptible() as interrupted, held_input():
            streamed = _StreamedReply(self.write)
            reply = self.runtime.chat(
                message,
                streamed.answer,
                should_stop=interrupted,
                origin=TERMINAL,
                on_thought=streamed.thought,
                completion=self.last,
            )
        if reply.stop == "asked":
            self.write("\n   stopped; nothing of it is kept\n")
            return
        if reply.thoughts and not reply.text:
            self.write(f"\n   {NO_ANSWER}")
        self.write(f"\n   not kept: {reply.unobserved}\n" if reply.unobserved else "\n")
        self.ask_prompt()

    def _command(self, text: str) -> None:
        name, *argument = text.split(maxsplit=1)
        if name not in self.commands:
            raise UsageError(
                f"no command {one_line(name)}; /help lists them. A message with a slash takes a space before it"
            )
        self.commands[name]("".join(argument).strip())

    def _open_prompt(self) -> Prompt:
        if self.asked is None:
            raise UsageError("no question is open; they come after a reply, a few a day")
        return self.asked

    def _close(self, verdict, said: str) -> None:
        """Give the verdict on the question that is open; where it is refused the question stays open."""
        verdict(self._open_prompt())
        self.asked = None
        self.write(f"   {said}\n")

    def _spoken(self) -> str:
        """What the user says, or types where he was misheard; "" where it is not to be taken."""
        if not self.runtime.settings.speech:
            raise UsageError(speech.OFF)
        if not self.told_of_speech:
            self.write(f"   {speech.NOTICE}\n")
            self.told_of_speech = True
        self.write("   listening ...\n")
        try:
            with held_input():
                said = speech.hear()
            self.write(f"   heard: {said}\n")
            typed = self._read("   Enter takes it, or type it as it should be; Ctrl-C drops it: ")
        except KeyboardInterrupt:
            typed = None
        return "" if typed is None else typed.strip() or said

    def _typed(self, question: str) -> str:
        try:
            return self._read(question) or ""
        except KeyboardInterrupt:
            return ""

    def _next(self) -> str | None:
        """What the user types next, None at the end of input; a second Ctrl-C in a row ends the program."""
        try:
            return self._read("> ")
        except KeyboardInterrupt:
            self.write(LEAVING)
            return self._read("> ")

    def _read(self, question: str) -> str | None:
        try:
            return self.read(question)
        except EOFError:
            return None

    @staticmethod
    def _print(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class _StreamedReply:
    """Writes a reply as it comes, with its thoughts marked as such; what a model writes moves no terminal."""

    def __init__(self, write: Callable[[str], None]):
        self._write, self._is_thinking = write, False

    def thought(self, text: str) -> None:
        if not self._is_thinking:
            self._write("   thinking: ")
            self._is_thinking, text = True, text.lstrip()
        self._write(safe_text(text))

    def answer(self, text: str) -> None:
        if self._is_thinking:
            self._write("\n\n")
            self._is_thinking = False
        self._write(safe_text(text))


def is_command(text: str) -> bool:
    """Whether typed text is a command and no message: it begins with a slash, and is one line or a /better."""
    return text.startswith("/") and ("\n" not in text.strip() or text.split()[0] == "/better")
