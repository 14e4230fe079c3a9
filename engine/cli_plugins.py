"""`engine plugins`: what is on offer, from whom, and with which options."""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.context import Context
from engine.hooks import FilterRecord, MatcherRecord, RuntimeRecord
from engine.plugin_options import describe_options


@dataclass(frozen=True)
class PluginsOptions:
    """`engine plugins` takes no options."""


def run_plugins(options: PluginsOptions, context: Context) -> int:
    """Prints matchers, filters and runtimes; exit code 1 when a third-party plugin could not be loaded."""
    registry = context.registry
    print("matchers (--matcher NAME, options: -M name=value)")
    _print_records(registry.matchers.values(), context)
    print("\nfilters (--filter NAME, options: -F name=value)")
    _print_records(registry.filters.values(), context)
    print("\nruntimes")
    _print_records(registry.runtimes.values(), context)
    for problem in registry.problems:
        print(f"\nnot loaded: {problem}")
    return 1 if registry.problems else 0


def _print_records(records: Iterable[MatcherRecord | FilterRecord | RuntimeRecord], context: Context) -> None:
    for record in records:
        print(f"  {record.name:<12} {record.help}  [{context.registry.origin(record)}]")
        if isinstance(record, RuntimeRecord):
            print(f"      reads {', '.join(record.suffixes)}")
            continue
        for row in describe_options(record.options):
            allowed = f", {row.range}" if row.range else ""
            print(f"      {row.name}={row.default}  {row.help} ({row.type}{allowed})")
        if isinstance(record, FilterRecord) and record.ransac_methods:
            print(f"      methods: {', '.join(record.ransac_methods)}")
