"""What was tried comes into the report, on the scale of the file that was made."""

from __future__ import annotations

from dataclasses import replace

from onnxzip.choose.trial_log import TrialLog
from onnxzip.records.check import Check
from tests.choose.test_search import Bench


def test_estimates_are_moved_to_the_file_and_sizes_stay() -> None:
    bench = Bench(lambda loss: loss, 0.1)
    small, large = bench.plan_for(0.2), bench.plan_for(0.02)
    n_more = large.n_bytes - small.n_bytes
    assert n_more > 0
    log = TrialLog(1_000_000)
    log.add("planned", large, 0.02, passed=True)
    log.add("refitted", small, 0.2, passed=False)
    failed = Check("drift", "CPU", "nrmse", 0.11, 0.1, False, 8)
    log.add_failed_proof(small, [failed, replace(failed, provider="CUDA", value=0.12)])
    tell = log.of_sizes(lambda plan: 777, 700)
    assert tell(large) == 777
    planned, refitted, proved, sized = log.finished(small, 5000)
    assert (planned.stage, planned.n_bytes, planned.loss, planned.passed) == (
        *("planned", 5000 + n_more, 0.02, True),
    )
    assert (refitted.n_bytes, refitted.passed) == (5000, False)
    assert (proved.stage, proved.n_bytes, proved.loss) == ("proved", 5000, 0.12)
    assert (sized.stage, sized.n_bytes, sized.loss, sized.passed) == ("sized", 777, None, False)


def test_the_worst_is_the_least_of_what_should_be_high() -> None:
    log, plan = TrialLog(1000), Bench(lambda loss: loss, 0.1).plan_for(0.1)
    low = Check("drift", "CPU", "psnr", 12.0, 30.0, False, 8, higher_is_better=True)
    log.add_failed_proof(plan, [replace(low, value=25.0), low])
    assert log.finished(plan, 10)[0].loss == 12.0
