"""Which runs were admitted: as a plain dict knows it, however often it was written down and read."""

from __future__ import annotations

import pytest
from barecount_command.domain.admitted import AdmittedRuns
from barecount_eventlog import ids as module
from hypothesis import given
from hypothesis import strategies as st

runs = st.dictionaries(st.text(max_size=8), st.sampled_from(["revenue-kpi", "stock", "ümlaut"]), max_size=30)


def again(held: AdmittedRuns) -> AdmittedRuns:
    return AdmittedRuns.load(*held.dump())


@given(first=runs, later=runs, missing=st.text(max_size=8))
def test_every_run_is_found_with_its_pipeline(first: dict[str, str], later: dict[str, str], missing: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEALED", 4)
        held, plain = AdmittedRuns(), dict[str, str]()
        for several in (first, later):
            for run, pipeline in several.items():
                if run not in plain:
                    held, plain[run] = held.add(run, pipeline), pipeline
            held = again(held)
        assert {run: held.get(run) for run in plain} == plain
        assert all(run in held for run in plain)
        assert len(held) == len(plain)
        assert held.get(missing) == plain.get(missing)
        assert (missing in held) == (missing in plain)
        assert again(held) == held
        assert again(held).dump() == held.dump()


def test_what_was_added_does_not_show_in_what_was_before() -> None:
    before = AdmittedRuns().add("a", "stock")
    after = before.add("b", "revenue-kpi")
    assert "b" not in before
    assert before.names == ("stock",)
    assert after.get("a") == "stock"
