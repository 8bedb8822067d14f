"""One line for each mistake, and for what goes wrong around a command."""

import gzip
import sys
import warnings
from pathlib import Path

import pytest
import torch

from structpred.cli import main
from structpred.cli.commands import COMMANDS
from tests.support.commands import FILES, SMALL, tree

pytestmark = pytest.mark.usefixtures("own_folder")


PRONUNCIATION = "structpred.experiments.pronunciation"
PANEL = (
    b"from structpred.comparison.panels import Panel\n"
    b"from structpred.experiments.pronunciation import experiments\n"
    b"def panels():\n    return %s\n"
)
BAD_FILES = {
    "empty.tsv": b"",
    "one.tsv": b"ab\n",
    "three.tsv": b"ab\tA\tB\n",
    "bytes.tsv": b"ab\tA\n\xff\tA\n",
    "source.tsv": b"ab\tA\n\tA\n",
    "target.tsv": b"ab\tA\nb\t\n",
    "long.tsv": b"a" * 5000 + b"\tA\n",
    "few.tsv": b"a\tA\nb\tB\n",
    "packed.tsv": gzip.compress(b"ab\tA B\n"),
    "empty.txt": b"",
    "bytes.txt": b"ab\n\xff\n",
    "gap.txt": b"ab\n\nab\n",
    "unknown.txt": b"ab\naxb\n",
    "long.txt": b"a" * 5000 + b"\n",
    "tab.txt": b"a\tA\n",
    "broken.py": b"def experiments(:\n",
    "notes/report.md": b"my own notes\n",
    "failing.py": b"import structpred\n1 / 0\n",
    "nothing.py": b"x = 1\n",
    "later.py": b"def experiments():\n    return undefined\n",
    "other.json": b'{"a": 1}',
    "cut.json": b'{"format": 1, "arms": {',
    "bare.json": b'{"format": 1, "arms": {}}',
    "bare_tuning.json": b'{"format": 1, "studies": {"one": {}}}',
    "strange.json": b'{"format": 1, "baseline": "a", "seeds": [0], "metrics": [], "arms": {"a": {"x": 1}}, "runs": {}}',
    "newer.json": b'{"format": 2, "arms": {}}',
    "number.py": b"def experiments():\n    return 3\n",
    "json.py": b"def experiments():\n    return {}\n",
    "none.py": b"def experiments():\n    return {}\n",
    "panels_number.py": b"def panels():\n    return 3\n",
    "panels_both.py": b"def panels():\n    return {}\ndef experiments():\n    return {}\n",
    "panels_arms.py": PANEL % b"{'one': Panel(arms=3)}",
    "panels_none.py": PANEL % b"{}",
    "panels_name.py": PANEL % b"{'a\\n': Panel(arms={})}",
    "panels_empty.py": PANEL % b"{'one': Panel(arms={})}",
    "panels_seeds.py": PANEL % b"{'one': Panel(arms=experiments(), seeds=(1, 1))}",
}
TRAIN = f"train {' '.join(SMALL)} task=tsv task.train=train.tsv"
MISTAKES = {
    "": "expected a command, one of compare, train,",
    "trian": "there is no command 'trian'; did you mean 'train'?",
    "--root x": "expected a command before '--root', one of compare, train,",
    "help": "there is no command 'help'; did you mean '--help'?",
    "train --dev cpu": "there is no option --dev of train; did you mean '--device' or '--devices'?",
    "train --root= seed=1": "--root needs a value, but it is empty",
    "train --root a --root b": "--root of train is given twice; leave one out",
    'train optimiser.parts=[{"name":': "'[{\"name\":' must be JSON, but it cannot be read (Expecting value, char",
    "train seed=1 seed=2": "seed is assigned twice, by 'seed=1' and by 'seed=2'; leave one out",
    "train seed=\x1b[31m": "seed must be a whole number, but got '\\x1b[31m'",
    f"train --threads {2**63}": "--threads must be a whole number of at most 64 bits, but got 9223372036854775808",
    "train --threads 100000": "--threads must be at least 1 and at most 1000, but got 100000",
    "train --devices 100000": "--devices must be at least 1 and at most 1000, but got 100000",
    f"train model.hidden={2**63}": "model.hidden must be a whole number of at most 64 bits, but got 92233720368",
    f"{TRAIN} --import": "--import: expected one argument; see structpred train --help",
    "compare --seeds 1_0": "--seeds must be a whole number, but got '1_0'",
    "compare --seeds ٣": "--seeds must be a whole number, but got '٣'",
    "compare --seeds -1": "--seeds must be at least 1 and at most 1000, but got -1",
    "compare --dry-run --dry-run": "--dry-run of compare is given twice; leave one out",
    "compare --seeds " + "9" * 5000: "--seeds must be a whole number, but got '99999999",
    f"predict RUN train.tsv --n-best {2**63}": "--n-best must be a whole number of at most 64 bits",
    "tune --lease inf": "--lease must be a number, but got 'inf'",
    "tune --timeout 1e400": "--timeout must be a finite number, but got inf",
    "tune optimiser.lr=0.1..0.2 --over learning-rate": "optimiser.lr is assigned twice, by 'optimiser.lr=0.1..0.2' and",
    "tune model.hidden=one-of:" + "[" * 20000: "model.hidden must be a whole number, but got '[[[",
    "describe ml": "nothing is named 'ml'; did you mean 'maximum-likelihood'?",
    "describe objective": "'objective' is a whole family; see structpred list objective",
    "train --rot x": "there is no option --rot of train; did you mean '--root'?",
    "compare --seeds x": "--seeds must be a whole number, but got 'x'",
    "compare --seeds": "--seeds: expected one argument; see structpred compare --help",
    "compare --until significant": "--until must be one of 'decided', but got 'significant'",
    "compare --max-seeds 0": "--max-seeds must be at least 1 and at most 1000, but got 0",
    "compare --max-seeds 9": "max_seeds is a limit for seeds that are added, but got 9 without until='decided'",
    "compare --until decided --seeds 5 --max-seeds 3": "max_seeds must be at least the number of seeds to start with",
    "compare --margin PER": "--margin takes METRIC=VALUE, such as PER=0.3, once for each metric, but got 'PER'",
    "compare --margin PER=1e": "--margin takes METRIC=VALUE, such as PER=0.3, once for each metric, but got 'PER=1e'",
    "compare --margin per=1": "--margin is of one of the metrics, but got 'per'; did you mean 'PER'?",
    f"compare {PRONUNCIATION} --margin PER=0": "the margin of PER must be a number above 0, but got 0.0",
    f"compare {PRONUNCIATION} --group ML": "--group takes BASELINE=ARM,ARM, once for each baseline, but got 'ML'",
    f"compare {PRONUNCIATION} --group smoothing=rml": "groups are of arms of the comparison, but got 'rml'; did you me",
    f"compare {PRONUNCIATION} --all-pairs --group ML=RML": "all pairs are compared without groups; leave out either",
    "compare --seeds 0": "--seeds must be at least 1 and at most 1000, but got 0",
    "compare --workers 0": "--workers must be at least 1 and at most 1000, but got 0",
    "compare --device gpu": "--device must be one of 'auto', 'cpu', 'cuda', but got 'gpu'",
    "compare --root train.tsv": "train.tsv must be a folder, but train.tsv is a file",
    "compare --report notes": "notes/report.md is not from a report of structpred and would be overwritten; move it",
    "tune objective=rml --over edit-rate --report notes": "notes/report.md is not from a report of structpred",
    "compare --report train.tsv/deep": "train.tsv/deep must be a folder, but train.tsv is a file",
    "compare seed=3": "seed cannot be assigned; use --seeds",
    "compare --dry-run --baseline ML": "panel 'tagging': the baseline must be one of the arms, but got 'ML'; known",
    f"compare {PRONUNCIATION} --baseline rml": "the baseline must be one of the arms, but got 'rml'; did you mean 'RM",
    f"compare {PRONUNCIATION} objective=rml": "'ML' and 'smoothing' are the same experiment",
    "compare trainer.epochs=5": "panel 'pronunciation': the arms of a comparison share their trainer, but 'ML' and ",
    "compare trainer.epochs=0": "trainer.epochs must be at least 1, but got 0",
    "compare --objectives": "--objectives needs at least one value, but got none",
    "compare --objectives rlm": "there is no objective named 'rlm'; did you mean 'rml'?",
    "compare one two": "expected one module of arms, or --objectives, but got one and two",
    "compare --objectives rml rml": "--objectives names rml twice; name each once, or write a module of arms",
    f"{TRAIN} --import train.tsv": "train.tsv cannot be imported (its name does not end in .py); give a module's",
    "compare arms --objectives rml": "expected one module of arms, or --objectives, but got arms and rml",
    "compare nowhere.module": "nowhere.module cannot be imported (No module named 'nowhere')",
    "compare nowhere.py": "nowhere.py: there is no such file",
    "compare broken.py": "broken cannot be imported, because of a syntax error in line 1 of",
    "compare failing.py": "failing cannot be imported, because of ZeroDivisionError in line 2 of",
    "compare nothing.py": "nothing.py must define experiments(), returning experiments by the names of their arms, or",
    "compare panels_number.py": "panels_number.py: panels() must return a dict of names and Panels, but got 3",
    "compare panels_arms.py": "panels_arms.py: the arms of the panel 'one' must be a dict of names and Experiments",
    "compare panels_none.py": "a comparison needs at least one panel, but got none",
    "compare panels_name.py": "the name of a panel must be one line of text without control characters, but got 'a\\n'",
    "compare panels_empty.py": "panel 'one': a comparison needs at least one arm, but got none",
    "compare panels_both.py": "panels_both.py defines both panels() and experiments(), but one of them is compared",
    "compare panels_seeds.py": "panel 'one': a comparison needs at least one seed, each once, but got [1, 1]",
    "compare later.py": "later.py: experiments() failed with NameError in line 2 of",
    "compare number.py": "must return a dict of names and Experiments, but got 3",
    "compare json.py": "json.py has the name of another module",
    "compare none.py": "a comparison needs at least one arm, but got none",
    "compare structpred.objectives": "structpred.objectives must define experiments()",
    "train --threads 0": "--threads must be at least 1 and at most 1000, but got 0",
    "train epochs": "expected field=value, such as trainer.epochs=10, but got 'epochs'",
    "train objective=rlm": "there is no objective named 'rlm'; did you mean 'rml'?",
    "train objective=rml objective.payoff.temperature.literal=0": "temperature.literal must be above 0, but got 0.0",
    "train objective=rml objective.estimator.k=0": "objective.estimator.k must be at least 1, but got 0",
    "train task=tsv task.train=nowhere.tsv": "nowhere.tsv must be a text file that can be read, but there is no such",
    "train task=tsv task.train=runs-to-be": "there is no such file",
    "train task=tsv task.train=": "the path of a file must not be empty, but got ''; name a file",
    "train task=tsv task.train=.": ". must be a text file that can be read, but it is a folder; name a file in it",
    "train task=tsv task.train=empty.tsv": "empty.tsv must hold at least one line, but it is empty",
    "train task=tsv task.train=one.tsv": "one.tsv line 1 must be a source, a tab and a target, but it has 1 column",
    "train task=tsv task.train=three.tsv": "three.tsv line 1 must be a source, a tab and a target, but it has 3 col",
    "train task=tsv task.train=bytes.tsv": "bytes.tsv line 2 must be UTF-8, but byte 1 of the line is 0xff",
    "train task=tsv task.train=source.tsv": "source.tsv line 2: the source must hold at least one symbol",
    "train task=tsv task.train=target.tsv": "target.tsv line 2: the target must hold at least one symbol",
    "train task=tsv task.train=long.tsv": "long.tsv line 1: the source must have at most 400 symbols, but it has 5000",
    "train task=tsv task.train=few.tsv": "few.tsv must have more than 2 sources",
    f"{TRAIN} --root train.tsv": "train.tsv must be a folder, but train.tsv is a file",
    "evaluate": "the following arguments are required: RUN; see structpred evaluate --help",
    "evaluate nowhere": "nowhere: expected the folder of a run, but there is no experiment.json in it",
    "evaluate RUN model.hidden=4": "the metrics of a finished run may be assigned to, because nothing is trained, but",
    "evaluate RUN decoding.width=4": "decoding.width: Decoding has no field 'width'; known names are beam",
    "evaluate RUN decoding.beam=4 --beam 5": "decoding.beam is assigned twice, by 'decoding.beam=4' and by 'decodi",
    "evaluate RUN decoding.reward=hamming": "Decoding with the reward Hamming needs outputs as long as their referen",
    "evaluate RUN decoding.rule=hamming": "Decoding(rule='hamming') needs `marginals`, which the Autoregressive",
    "evaluate RUN --with nowhere": "nowhere: expected the folder of a run, but there is no experiment.json in it",
    "evaluate RUN --candidates 0": "--candidates must be at least 1, but got 0",
    "evaluate RUN --candidates 4": "--candidates says how many outputs --rerank-by chooses among, so give both or",
    "list objective --grid": "the grid is of objectives, models and rewards, so leave out 'objective' or --grid",
    "list reward --markdown": "the grid is of objectives, models and rewards, so leave out 'reward' or --grid",
    "clean --older-than -1": "--older-than must be at least 0, but got -1",
    "diagnose RUN --objectives": "--objectives needs at least one value, but got none",
    "reproduce other.json --seeds --arms ML": "--seeds needs at least one value, but got none; give one, or",
    "report RUN --figures": "--figures needs at least one value, but got none",
    "tune optimiser.lr=0.1..0.2 --over": "--over needs at least one value, but got none",
    "tune --over learning-rate --points 3": "points is for a grid, but the sampler is 'tpe'; set sampler='grid' or",
    "tune --over learning-rate --sampler random --points 3": "points is for a grid, but the sampler is 'random'; set",
    "train task=tsv task.train=packed.tsv": "packed.tsv must be text, but it is compressed by gzip; call it packed",
    "predict RUN train.tsv --decoding width=4": "decoding.width: Decoding has no field 'width'",
    "evaluate RUN metrics=f1": "the metric F1 does not fit the task Tsv (chunks are read from the tags O, B-… and",
    "evaluate RUN metrics=prr": "there is no metric named 'prr'; did you mean 'per'?",
    "train metrics=per,per": "metrics must name each metric once, but PER occurs twice",
    "train metrics=oov-acc": "the metric OOV-ACC does not fit the task Pronunciation, which marks no word of",
    "compare metrics=bleu,f1 task.size=50": "the metric F1 does not fit the task",
    "train metrics=3": "metrics must be a tuple, but got 3",
    "evaluate RUN --beam 0": "--beam must be at least 1, but got 0",
    "evaluate RUN --split tset": "--split must be one of 'train', 'dev', 'test', but got 'tset'; did you mean 'test'?",
    "evaluate RUN task.test=three.tsv": "three.tsv line 1 must be a source, a tab and a target",
    "predict RUN nowhere.txt": "nowhere.txt must be a text file that can be read, but there is no such file",
    "predict RUN empty.txt": "empty.txt must hold at least one line, but it is empty",
    "predict RUN bytes.txt --strict": "bytes.txt line 2 must be UTF-8, but byte 1 of the line is 0xff",
    "predict RUN gap.txt --strict": "gap.txt line 2: the input must hold at least one symbol, but it is empty",
    "predict RUN unknown.txt --strict": "unknown.txt line 2: the symbol 'x' never occurs in the training data",
    "predict RUN long.txt --strict": "long.txt line 1: the input must have at most 400 symbols, but it has 5000",
    "predict RUN tab.txt --strict": "tab.txt line 1: the input must be a source alone",
    "predict RUN gap.txt --output out.txt --strict": "gap.txt line 2: the input must hold at least one symbol",
    "predict RUN train.tsv --n-best 0": "--n-best must be at least 1, but got 0",
    "predict RUN train.tsv --n-best 2 --decoding reward=bleu": "--n-best lists the most probable outputs, so 'reward=b",
    "predict RUN train.tsv --n-best 2 --decoding length_penalty=1": "so 'length_penalty=1' has no effect on it",
    "predict RUN train.tsv --output train.tsv": "--output must be another file than the inputs, train.tsv, which would",
    "predict RUN train.tsv --n-best 2 --beam 3": "give it or --beam, not both",
    "predict RUN train.tsv --output nowhere/out.txt": "nowhere/out.txt must stand in a folder, but there is no nowhere",
    "predict RUN train.tsv --output .": ". must be a file, but it is a folder",
    "report": "the following arguments are required: RUN|RESULTS; see structpred report --help",
    "report RUN RUN": "are one arm under one seed; leave one of them out",
    "report RUN other.json": "other.json: expected the folder of a run, but there is no experiment.json in it",
    "report RUN --baseline ML": "the baseline must be one of the arms, but got 'ML'; did you mean 'max",
    "report RUN --figures png": "--figures[0] must be one of 'pdf', 'svg', 'tex', but got 'png'",
    "report RUN --to notes": "notes/report.md is not from a report of structpred and would be overwritten; move it",
    "runs": "runs: there is no such folder; name the folder of run folders with --root",
    "runs --root train.tsv": "train.tsv: there is no such folder; name the folder of run folders with --root",
    "runs --state done": "--state must be one of 'finished', 'unfinished', 'damaged', but got 'done'",
    "runs --seed one": "--seed must be a whole number, but got 'one'",
    "runs --format xml": "--format must be one of 'table', 'json', 'csv', but got 'xml'",
    "runs rml": "there is no place for 'rml'; see structpred runs --help",
    "show": "the following arguments are required: RUN; see structpred show --help",
    "show nowhere": "nowhere: expected the folder of a run, but there is no experiment.json in it",
    "show notes": "notes: expected the folder of a run, but there is no experiment.json in it",
    "diagnose": "the following arguments are required: RUN; see structpred diagnose --help",
    "diagnose nowhere": "nowhere: expected the folder of a run, but there is no experiment.json in it",
    "diagnose RUN --draws 1": "draws must be at least 2, because a variance needs two, but got 1; raise it",
    "diagnose RUN --batch 0": "--batch must be at least 1, but got 0",
    "diagnose RUN --batch 1000": "batch must be at most 90, the number of training examples, but got 1000",
    "diagnose RUN --edit-rate 0": "--edit-rate must be above 0, but got 0.0",
    "diagnose RUN --objectives rlm": "there is no objective named 'rlm'; did you mean 'rml'?",
    "diagnose RUN --objectives max-margin": "MaxMargin needs a reward that is a sum over positions, but EditDistance",
    "diagnose RUN --objectives kl-to-run": "KLToRun learns from another run, in its field run; diagnose a run of it",
    "diagnose RUN --to notes": "--to must be a new folder or hold an earlier diagnosis, but notes holds report.md",
    "diagnose RUN --to train.tsv": "train.tsv must be a folder, but train.tsv is a file",
    "diagnose RUN --to RUN": "--to must be outside the run's folder, ",
    "report nowhere.json": "nowhere.json: there is no such file; name a results.json, or the folder that holds one",
    "report notes": "notes/results.json: there is no such file; name a results.json, or the folder that holds one",
    "report other.json": "other.json: expected a results.json of format 1; write the report again",
    "report newer.json": "newer.json: expected a results.json of format 1; write the report again",
    "report cut.json": "cut.json cannot be read as a report: Expecting",
    "report bare.json": "bare.json holds no report (KeyError: 'metrics'); write the report again",
    "report bare_tuning.json": "bare_tuning.json holds no report (KeyError: 'search'); write",
    "report strange.json": "expected at least one metric, but the task has none",
    "report other.json --to train.tsv": "train.tsv must be a folder, but train.tsv is a file",
    "list objectve": "there is no family named 'objectve'; did you mean 'objective'?",
    "describe rml crf": "there is no place for 'crf'; see structpred describe --help",
    "clean --yes=no": "--yes: ignored explicit argument 'no'; see structpred clean --help",
    "clean -y": "there is no option '-y'; see structpred clean --help",
    "describe": "the following arguments are required: NAME; see structpred describe --help",
    "describe rlm": "nothing is named 'rlm'; did you mean 'rml'?",
    "clean --root nowhere": "nowhere: there is no such folder",
    "clean --older-than soon": "--older-than must be a number, but got 'soon'",
}


@pytest.mark.parametrize("words", MISTAKES, ids=lambda words: words[:60])
def test_a_mistake_is_one_line_status_2_and_nothing_left_behind(
    words: str, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, content in BAD_FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    before = tree(tmp_path) | tree(trained)
    assert main([str(trained) if word == "RUN" else word for word in words.split()]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("structpred: ")
    assert MISTAKES[words] in line
    assert said.out == ""
    assert {path for path in tree(tmp_path) | tree(trained) if "__pycache__" not in path} == before


SHUT = "must be a folder that can be written, but it is read-only; name another place"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("compare --report shut", f"shut {SHUT}"),
        ("tune objective=rml --over edit-rate --report shut", f"shut {SHUT}"),
        ("report RUN --to shut", f"shut {SHUT}"),
        ("diagnose RUN --to shut", f"shut {SHUT}"),
        ("diagnose RUN --to shut/new", "shut/new must be a folder that can be made, but shut is read-only"),
        ("reproduce RECORD --root shut/new", "shut/new must be a folder that can be made, but shut is read-only"),
        ("predict RUN train.tsv --output shut/out.txt", "shut/out.txt must be a file that can be written, but shut is"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    words: str, message: str, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shut").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != Path("shut"))

    def work(*arguments: object, **options: object) -> None:
        pytest.fail("the work began")

    for place in ("comparing.compare_panels", "comparing.of_runs", "comparing.reproduce", "tuning.tune"):
        monkeypatch.setattr(f"structpred.cli.{place}", work)
    monkeypatch.setattr("structpred.cli.diagnosing.diagnose", work)
    monkeypatch.setattr("structpred.cli.runs.Predictor", work)
    record = Path(__file__).parents[2] / "experiments/records/letter_tagging"
    places = {"RUN": str(trained), "RECORD": str(record)}
    assert main([places.get(word, word) for word in words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"structpred: {message}")


def test_a_mistake_that_only_the_data_show_leaves_no_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("objective=rml", "objective.payoff.temperature.literal=100")
    assert main(["train", *FILES, *SMALL, *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("structpred: the edit-distance payoff over 3 labels exists only for")
    assert list((tmp_path / "runs").iterdir()) == []


def full(*arguments: object) -> None:
    raise OSError(28, "No space left on device", "there/.weights.pt.0123.unfinished")


def test_a_full_disk_is_one_line_about_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.fsync", full)
    assert main(["train", *FILES, *SMALL]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "structpred: there/weights.pt: No space left on device"
    assert not [path for path in tree(tmp_path) if path.endswith(".unfinished")]


def test_too_little_memory_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr("structpred.cli.runs.train", too_large)
    assert main(["train", *FILES]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("structpred: expected more memory than there is; lower trainer.batch_tokens")


def test_ctrl_c_is_one_line_and_status_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("structpred.cli.runs.train", interrupted)
    assert main(["train", *FILES]) == 130
    assert capsys.readouterr().err == "structpred: interrupted; the same command resumes from here\n"
    monkeypatch.setattr(COMMANDS["list"], "run", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "structpred: interrupted\n"


def test_a_forecast_that_is_interrupted_begins_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["compare"], "run", interrupted)
    assert main(["compare", "--dry-run"]) == 130
    assert capsys.readouterr().err == "structpred: interrupted\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_states_itself_whether_it_resumes(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    words = {"evaluate": ["run"], "predict": ["run"], "report": ["runs"], "reproduce": ["record"], "show": ["run"]}
    words |= {"diagnose": ["run"], "describe": ["rml"]}
    monkeypatch.setattr(COMMANDS[name], "run", interrupted)
    assert main([name, *words.get(name, [])]) == 130
    resumes = "the same command resumes from here" in capsys.readouterr().err
    assert vars(COMMANDS[name])["resumes"] is resumes, "stated by the command, not inherited"
    assert resumes == (name in ("compare", "reproduce", "train", "tune")), "those that train"


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMMANDS["list"], "run", lambda self, console: warnings.warn("two\nlines", stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["list"]) == 0
    assert capsys.readouterr().err == "structpred: warning: two lines\n"
