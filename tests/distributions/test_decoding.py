from dataclasses import replace

import pytest

from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.sequences import Sequences
from structpred.tasks import Pronunciation
from tests.support.tiny import tiny_seq2seq


def test_the_hamming_rule_needs_marginals() -> None:
    experiment = Experiment(task=Pronunciation(), model=Seq2Seq(), objective=MaximumLikelihood())
    with pytest.raises(ConfigError, match="`marginals`, which the Autoregressive distribution of Seq2Seq"):
        replace(experiment, decoding=Decoding(rule="hamming"))


def test_an_autoregressive_distribution_refuses_the_hamming_rule() -> None:
    p = tiny_seq2seq()(Sequences.of([[0, 1]]))
    with pytest.raises(ConfigError, match="needs `marginals`"):
        p.decode(Decoding(rule="hamming"))


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="hamming"):
        Decoding(rule="viterbi")  # type: ignore[arg-type]
