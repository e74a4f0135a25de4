"""The replay's clock."""

from datetime import datetime, timedelta

from ..local_time import is_hour_between

FIRST_DAY = datetime(2026, 1, 5)
MOST_APART = 1800.0  # seconds between two exchanges of a day that is not full
HOUR = 3600.0


class Calendar:
    """A clock that moves when told to, and shows only hours in which the user may be asked.

    These hours are of one calendar day, since the limit on questions is per day.
    """

    def __init__(self) -> None:
        self.keep_to(quiet_from=0, quiet_until=0)
        self.now = FIRST_DAY.timestamp()

    def __call__(self) -> float:
        return self.now

    def keep_to(self, quiet_from: int, quiet_until: int) -> None:
        """Show none of these hours from now on."""
        self.hours = [hour for hour in range(24) if not is_hour_between(hour, quiet_from, quiet_until)]

    def at(self, exchange: int, a_day: int) -> None:
        """Move to an exchange. The moment is made of the local date, since a zone's days differ in length."""
        day, turn = divmod(exchange, a_day)
        hour, seconds = divmod(turn * min(MOST_APART, len(self.hours) * HOUR / a_day), HOUR)
        moment = FIRST_DAY + timedelta(days=day, hours=self.hours[int(hour)], seconds=seconds)
        self.now = max(self.now, moment.timestamp())
