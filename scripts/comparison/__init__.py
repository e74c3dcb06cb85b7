"""The parts of scripts/compare: workloads, their runs, the rows they give, and the reports."""
