"""What several files here begin with."""

import pytest

from structpred.comparison.report import Report
from tests.support.reports import METRICS, ML, NEAR, RML, a_report


@pytest.fixture
def report() -> Report:
    return a_report(METRICS, ML=ML, smoothing=NEAR, RML=RML)
