"""idletune check: one screen on a model, before anything is trained."""

import json
from argparse import Namespace

from ..errors import UsageError
from ..learning.model_check import ModelReport, NightFacts, check_model
from ..model.bundle import base_of
from ..progress import Progress
from ..schedule.state_sources import ResourcesSource
from ..settings import Settings
from .options import home_of, model_of, settings_of


def check(arguments: Namespace) -> None:
    """Print the report. UsageError, and so exit code 2, for a model that cannot be trained here."""
    path, settings = base_of(arguments.file) if arguments.file else model_of(arguments), settings_of(arguments)
    resources = ResourcesSource(home_of(arguments))
    report = check_model(path, settings, lambda: resources.read().free_memory_mb, Progress)
    print(json.dumps(report.to_dict(), indent=1) if arguments.json else report_page(report, settings))
    if report.refusal:
        raise UsageError(f"{report.model} cannot be trained here: {report.refusal}")


def report_page(report: ModelReport, settings: Settings) -> str:
    """A line for each fact that is known."""
    formats = ", ".join(f"{name} {count}" for name, count in report.block_formats.items())
    rows = [
        ("model", f"{report.model}, {report.parameters / 1e6:,.0f} M parameters, {report.megabytes:,.0f} MB"),
        ("tensors", formats),
        ("family", f"{report.architecture}{f' ({report.family})' if report.family else ', not known'}"),
    ]
    if adapter := report.adapter:
        trained = f"layers {adapter.first_layer} to {adapter.layers - 1}: {adapter.parameters / 1e6:,.1f} M parameters"
        rows.append(("trains", f"rank {adapter.rank} on {adapter.targets} of {trained}, {adapter.megabytes} MB"))
    if report.thinks is not None:
        how = (
            "can think before it answers (setting thinking)" if report.thinks else "no think blocks that can be chosen"
        )
        rows.append(("template", how))
    if report.plan:
        rows += [("plan", report.plan), ("memory", _memory(report))]
    if report.night:
        rows += _night(report.night, settings)
    rows.append(("verdict", "cannot be trained here" if report.refusal else "fits"))
    return "\n".join(f"{name:10}{text}" for name, text in rows)


def _memory(report: ModelReport) -> str:
    parts = [f"{report.planned_mb} MB planned of {report.budget_mb} (setting memory_mb)"]
    if report.file_mb:
        parts.append(f"{report.file_mb} MB of int8 weights in files, mapped")
    if report.night and report.night.peak_mb is not None:
        parts.append(f"{report.night.peak_mb:.0f} measured")
    if report.free_mb is not None:
        parts.append(f"{report.free_mb:,.0f} free now")
    return ", ".join(parts)


def _night(night: NightFacts, settings: Settings) -> list[tuple[str, str]]:
    step = f"{night.step_seconds:.2f} s for {night.sequence_tokens} tokens"
    frozen = f", once {night.frozen_seconds:.2f} s for the layers below" if night.frozen_seconds else ""
    answers = f"{night.answers} answers of about {night.answer_tokens} tokens, {night.steps} steps"
    slices = f"{night.slices} of {settings.slices_a_day} slices of {settings.slice_minutes:g} minutes"
    return [
        ("a step", step + frozen + "; measured"),
        ("a night", f"{answers}: {night.minutes:.1f} minutes of training, {slices}"),
    ]
