"""How long one memory system takes beside another, round by round, and how sure that is."""

import math
import statistics

GOALS = {"mean": 1.01, "most": 1.03}  # of libdsm : jemalloc


def round_by_round(times):
    """libdsm : jemalloc in each round, where both run side by side; sorted."""
    return sorted(ours / theirs for ours, theirs in zip(times.get("libdsm", []), times.get("jemalloc", [])))


def half_width(ratios):
    """Of the interval between two of them that holds the median with 95 %: of any distribution, by the binomial one."""
    count, below, outside = len(ratios), 0, 0.5**len(ratios)
    if outside > 0.025:
        return None
    while outside + math.comb(count, below + 1) * 0.5**count <= 0.025:
        below += 1
        outside += math.comb(count, below) * 0.5**count
    return (ratios[count - 1 - below] - ratios[below]) / 2


def compared(times):
    ratios = round_by_round(times)
    width = half_width(ratios) if ratios else None
    return {"median": round(statistics.median(ratios), 4) if ratios else None, "rounds": len(ratios),
            "half_width": None if width is None else round(width, 4)}


def told(ratio, plus_minus="+-"):
    if ratio["median"] is None:
        return "-"
    return f"{ratio['median']:.3f}" + (f" {plus_minus} {ratio['half_width']:.3f}" if ratio["half_width"] is not None else "")
