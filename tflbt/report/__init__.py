"""What a person sees of a run or a search: its directory, its table, its figures and its page."""

from tflbt.report import regime
from tflbt.report.history import History
from tflbt.report.metrics import MetricsTable
from tflbt.report.page import write
from tflbt.report.run_directory import RunDirectory
from tflbt.report.search_page import write_search

__all__ = ["History", "MetricsTable", "RunDirectory", "regime", "write", "write_search"]
