"""Stand-ins for the programs of Termux:API, with their option parsing, their output and their shell behaviour.

What Android would hold (notifications, jobs) is kept as files under `state`. `press` does what Termux:API
does when a notification's button is pressed: it puts the typed reply between double quotes into the
action, escaping double quotes alone, and gives the action to `sh -c` with hardly any environment.
Only their patience is longer (the real one waits 3 seconds for its content), as tests run on busy machines.
"""

import json
import shutil
import subprocess
from pathlib import Path

BATTERY = {
    "present": True,
    "technology": "Li-ion",
    "health": "GOOD",
    "plugged": "PLUGGED_USB",
    "status": "CHARGING",
    "temperature": 29.4,
    "voltage": 4263,
    "current": -312000,
    "percentage": 88,
    "level": 88,
    "scale": 100,
}
NOTIFICATION = r"""
TEMP=$(getopt -n termux-notification -o hc:i:t: --long action:,alert-once,button1:,button1-action:,button2:,button2-action:,\
button3:,button3-action:,content:,id:,ongoing,priority:,title: -s bash -- "$@") || exit 1
eval set -- "$TEMP"
id="" content="" passed=""
new=$(mktemp -d "$STATE/new.XXXXXX")
while true; do
	case "$1" in
		--alert-once|--ongoing) printf true > "$new/${1#--}"; shift;;
		-c|--content) passed=1; content="$2"; shift 2;;
		-i|--id) id="$2"; shift 2;;
		--) shift; break;;
		*) printf %s "$2" > "$new/${1#--}"; shift 2;;
	esac
done
if [ $# != 0 ]; then echo "termux-notification: too many arguments"; exit 1; fi
if [ -z "$passed" ]; then IFS= read -t 300 -r -d '' content || true; fi
content="$(echo "$content")"
printf %s "$content" > "$new/content"
rm -rf "$STATE/notification-$id"; mv "$new" "$STATE/notification-$id"
"""
JOBS = r"""
TEMP=$(getopt -n termux-job-scheduler -o hs:p --long script:,job-id:,pending,cancel,cancel-all,period-ms:,network:,\
battery-not-low:,storage-not-low:,charging:,persisted:,help -s bash -- "$@") || exit 1
eval set -- "$TEMP"
script="" job=0 cancel="" period=0 network=any charging=false persisted=false
while true; do
	case "$1" in
		-s|--script) script="$2"; shift 2;;
		--job-id) job="$2"; shift 2;;
		--cancel) cancel=1; shift;;
		--period-ms) period="$2"; shift 2;;
		--network) network="$2"; shift 2;;
		--charging) charging="$2"; shift 2;;
		--persisted) persisted="$2"; shift 2;;
		--) shift; break;;
		*) shift 2;;
	esac
done
if [ $# != 0 ]; then echo "termux-job-scheduler: too many arguments"; exit 1; fi
if [ -n "$cancel" ]; then
	if [ ! -e "$STATE/job-$job" ]; then echo "No job $job found"; exit 0; fi
	echo "Cancelling $(cat "$STATE/job-$job")"; rm "$STATE/job-$job"; exit 0
fi
if [ ! -f "$script" ]; then echo "No such file: $script"; exit 0; fi
if [ ! -x "$script" ]; then echo "Cannot execute file: $script"; exit 0; fi
text="Job $job: $script	(periodic: ${period}ms)"
[ "$charging" = true ] && text="$text (while charging)"
[ "$persisted" = true ] && text="$text (persisted)"
text="$text (battery not low) (network: $network)"
echo "$text" > "$STATE/job-$job"
echo "Scheduling $text - response ${RESPONSE:-1}"
for pending in "$STATE"/job-*; do echo "Pending $(cat "$pending")"; done
"""


class TermuxPrograms:
    """The programs in `folder`/bin, and what they left behind."""

    def __init__(self, folder: Path):
        self.bin, self.state = folder / "bin", folder / "android"
        self.bin.mkdir(parents=True)
        self.state.mkdir()
        self._write("termux-notification", f"set -e -u -f\nSTATE={self.state}\n{NOTIFICATION}")
        self._write("termux-job-scheduler", f"set -e -u\nSTATE={self.state}\n{JOBS}")
        self._write("termux-notification-remove", f'rm -rf "{self.state}/notification-$1"')
        self._write("termux-battery-status", f"cat {self.state}/battery")
        self._write("termux-speech-to-text", f"[ $# = 0 ] || exit 1\ncat {self.state}/guesses | tail -1")
        self.says()
        for name in ("termux-wake-lock", "termux-wake-unlock"):
            self._write(name, f"echo {name} >> {self.state}/wake")
        self.battery()

    def battery(self, **changes) -> None:
        (self.state / "battery").write_text(json.dumps({**BATTERY, **changes}, indent=2) + "\n")

    def says(self, *guesses: str) -> None:
        """What the speech recognition makes of what is said, guess by guess; the last one is what it gives."""
        (self.state / "guesses").write_text("".join(f"{guess}\n" for guess in guesses))

    def notification(self, id: str = "idletune-question") -> dict[str, str] | None:
        folder = self.state / f"notification-{id}"
        return {file.name: file.read_text() for file in folder.iterdir()} if folder.is_dir() else None

    def jobs(self) -> list[str]:
        return sorted(file.read_text().strip() for file in self.state.glob("job-*"))

    def wakes(self) -> list[str]:
        path = self.state / "wake"
        return path.read_text().split() if path.exists() else []

    def press(self, button: int, reply: str | None = None) -> subprocess.CompletedProcess:
        return press(self.notification()[f"button{button}-action"], reply)

    def _write(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)


def press(action: str, reply: str | None = None, cwd: Path | str = "/") -> subprocess.CompletedProcess:
    """Run a button's action as Termux does; the typed reply goes in first, where there is one."""
    if reply is not None:
        quoted = '"' + reply.replace('"', '\\"') + '"'
        action = action.replace("$REPLY", quoted)
    shell = shutil.which("dash") or "/bin/sh"
    return subprocess.run([shell, "-c", action], env={}, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True)
