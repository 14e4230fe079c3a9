"""A folder of static pages over a run: opened by double click, without a server or a network."""

from engine.report.write import ReportLimits, ReportSummary, write_report

__all__ = ["ReportLimits", "ReportSummary", "write_report"]
