"""Training objectives, one file each."""

from structpred.objective import Losses, Objective
from structpred.objectives.actor_critic import Critic
from structpred.objectives.adversarial import Adversarial
from structpred.objectives.baselines import Baseline, Greedy, LeaveOneOut, NoBaseline, OptimalToken
from structpred.objectives.candidate_hinge import CandidateHinge
from structpred.objectives.candidate_pool import CandidatePool
from structpred.objectives.candidates import Beam, CandidateSet, NBest, Samples
from structpred.objectives.critics import Learned, RunningMean
from structpred.objectives.data_noising import DataNoising
from structpred.objectives.distillation import Distillation
from structpred.objectives.divergence import Divergence
from structpred.objectives.estimators import Best, Estimator, Exact, Sampled, SelfNormalised
from structpred.objectives.expected_reward import ExpectedReward
from structpred.objectives.group_relative import GRPO
from structpred.objectives.kl_to_run import KLToRun
from structpred.objectives.label_smoothing import LabelSmoothing
from structpred.objectives.max_margin import MaxMargin
from structpred.objectives.maximum_likelihood import MaximumLikelihood
from structpred.objectives.minimum_risk import MinimumRisk
from structpred.objectives.mixer import Mixer
from structpred.objectives.optimal_completion import OptimalCompletion
from structpred.objectives.perceptron import Perceptron
from structpred.objectives.preference import CPO, DPO
from structpred.objectives.reinforce import REINFORCE
from structpred.objectives.reward_augmented import RML
from structpred.objectives.schedule import Anneal, Point, Switch
from structpred.objectives.scheduled_sampling import Decay, ScheduledSampling
from structpred.objectives.softmax_margin import SoftmaxMargin
from structpred.objectives.switch_out import SwitchOut
from structpred.objectives.weighted_sum import Weighted, WeightedSum

__all__ = [
    "CPO",
    "DPO",
    "GRPO",
    "REINFORCE",
    "RML",
    "Adversarial",
    "Anneal",
    "Baseline",
    "Beam",
    "Best",
    "CandidateHinge",
    "CandidatePool",
    "CandidateSet",
    "Critic",
    "DataNoising",
    "Decay",
    "Distillation",
    "Divergence",
    "Estimator",
    "Exact",
    "ExpectedReward",
    "Greedy",
    "KLToRun",
    "LabelSmoothing",
    "Learned",
    "LeaveOneOut",
    "Losses",
    "MaxMargin",
    "MaximumLikelihood",
    "MinimumRisk",
    "Mixer",
    "NBest",
    "NoBaseline",
    "Objective",
    "OptimalCompletion",
    "OptimalToken",
    "Perceptron",
    "Point",
    "RunningMean",
    "Sampled",
    "Samples",
    "ScheduledSampling",
    "SelfNormalised",
    "SoftmaxMargin",
    "Switch",
    "SwitchOut",
    "Weighted",
    "WeightedSum",
]
