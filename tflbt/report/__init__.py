"""What a person sees of a run or a search: its table, its figures and its page."""

from tflbt.report import regime
from tflbt.report.page import write
from tflbt.report.search_page import write_search
from tflbt.runs.history import History
from tflbt.runs.metrics import MetricsTable
from tflbt.runs.run_directory import RunDirectory

__all__ = ["History", "MetricsTable", "RunDirectory", "regime", "write", "write_search"]
