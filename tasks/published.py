"""Published sets: where their files are, what is known of them, and parts held out."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.downloads import DataSet, Published
from structpred.sequences import Source
from structpred.task import Example, Splits, Task
from structpred.vocabulary import Symbols


class SharedInputWarning(UserWarning):
    """Inputs are in the training data and in held-out data."""


class NewLabelWarning(UserWarning):
    """Held-out data have labels that the training data lack."""


def warn_of_shared(splits: Splits, what: Literal["sources", "sentences"] = "sources") -> None:
    """One warning where inputs of the training data are also in dev or test, with their number."""
    sources = {example.source for example in splits.train}
    dev, test = ([e for e in split if e.source in sources] for split in (splits.dev, splits.test))
    if found := dev + test:
        warnings.warn(
            f"{len(dev)} of {len(splits.dev)} dev {what} and {len(test)} of {len(splits.test)} test {what} are also in "
            f"the training data, such as that of {found[0].where}; scores on them flatter, so remove them from one "
            "side",
            SharedInputWarning,
            stacklevel=2,
        )


def warn_of_new_labels(splits: Splits) -> None:
    """One warning where dev or test have labels that are in no training output, with their number and examples."""
    known = _labels(splits.train)
    dev, test = (sorted(label for label in _labels(split) if label not in known) for split in (splits.dev, splits.test))
    first = _places((*splits.dev, *splits.test), {*dev, *test})
    if not first:
        return
    shown = ", ".join(f"{label!r} ({where})" for label, where in list(first.items())[:3])
    warnings.warn(
        f"{len(dev)} labels of dev and {len(test)} of test are in no training output, so that no model can give them: "
        f"{shown}{', …' if len(first) > 3 else ''}; check how they are written, or move examples of them to the "
        "training data",
        NewLabelWarning,
        stacklevel=2,
    )


def _labels(examples: Sequence[Example]) -> dict[str, None]:
    return dict.fromkeys(label for example in examples for reference in example.references for label in reference)


def _places(examples: Sequence[Example], labels: set[str]) -> dict[str, str]:
    """Where each label stands first, in that order."""
    found: dict[str, str] = {}
    for example in examples if labels else ():
        for label in _labels([example]):
            if label in labels:
                found.setdefault(label, example.where)
    return found


_LINES = """
5882433c3a14a9a0614b5f724ce74872851092e816852c82d6b74913b2085384  cmudict_g2p/g014b2b.train
82033cd7a72b209923a98007793e8f9de3abc1c8b79d646c50648eb949b87cea  conll2000/train.txt
73b7b1e565fa75a1e22fe52ecdf41b6624d6f59dacb591d44252bf4d692b1628  conll2000/test.txt
4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16  multi30k/raw/test_2016_flickr.de
399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182  multi30k/raw/test_2016_flickr.en
2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72  multi30k/raw/train.de
460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6  multi30k/raw/train.en
660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660  multi30k/raw/val.de
1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227  multi30k/raw/val.en
c6a33d39d48f9f510de147651316cd9d918e09ad0219df734a2f16b6baccacc4  multi30k/tok/test_2016_flickr.lc.norm.tok.de
5b7f32627cf99eced828311b955dae9800bb52bc8b91cf8b6526829e605b29d2  multi30k/tok/test_2016_flickr.lc.norm.tok.en
cb5a23529b65ec2061f1dc446192a9c37382b63cc75f81a0be59d34894b3a505  multi30k/tok/train.lc.norm.tok.de
08925f8e0572bcd5a006702fc5fe20e2d77c6917d4eebd576fc20de6693c2119  multi30k/tok/train.lc.norm.tok.en
97232bd273eceb7207f689527386a97e4be2616b18ada47576bdaf96c8ae1f00  multi30k/tok/val.lc.norm.tok.de
46573ce391ae227f1c72f873392436a20ef18e0a6d518098cfbd70b77c8572ec  multi30k/tok/val.lc.norm.tok.en
b4e1e7efcc2a35047bf2f3d281648357470e674f555d4a26a0049ac37d59cc61  ncbi_disease/devel.tsv
8f088ce45dc4746592188f9e69de3d89d87f3bb8f0ed8c4a287d018123fa148d  ncbi_disease/test.tsv
5f87b0de649eccff21e6d6e49e304aace808056ecae55225ea31602192517be9  ncbi_disease/train.tsv
10c860546b862493820625fb851040c9c4b3238a27d8c174e3fd3b6368e78615  sigmorphon2017/english-dev
e6c87ce340eaec2df80aa51d6c1ef9571361cdfdf2b21029711d8bc6bee3ce05  sigmorphon2017/english-train-high
1af911fa63c3407fe9d8d8af184c0d2c0659cf0bbd2115e428e582b2cf659aeb  sigmorphon2017/english-train-low
d51ac31f44c81363706f791f34fc84557081a65be93347c2844924875ec83179  sigmorphon2017/english-train-medium
0f696e1061e5faf9e8796b0b414a98a61e8165de6d8856cf2ce5b0edb1bb82be  sigmorphon2017/english-uncovered-test
dd31327aefec2e8862f19df3bc4a083e51f634a5acc599b6683b612528dc4e19  sigmorphon2017/finnish-dev
32a7bbb2e963ffd89a75a1a2d64f2cd348e1a870fda500433b93b397774a7901  sigmorphon2017/finnish-train-high
bb8d1b02b4a54985b14420f8c7b30512aae30e75214df5761ee0b3dde17fb030  sigmorphon2017/finnish-train-low
e6fa59613defc301a19c28eb1a44d920738e513e328c14336979b9d16ca93a84  sigmorphon2017/finnish-train-medium
c8e5fbc56eabab0d304ea7e09cf210a6322296e964f2e5db2365b79d932ddbed  sigmorphon2017/finnish-uncovered-test
fdcf14c88f046c2a42933a447c62482c562d76f1fc4f78981ff9b5476fa4ef9a  sigmorphon2017/german-dev
765e7fa395d3fe4267f17c0e644cec3b3c480fc7a5b9f67bc7a13febec60b594  sigmorphon2017/german-train-high
890965f64621ed96a501b7db68fc75573ecc98fd93212e68d85b016d4ceafb35  sigmorphon2017/german-train-low
bc13a266c7ffe71ff58aa047c430e9e0062bd5e8ae108bffd604a5586e422e73  sigmorphon2017/german-train-medium
86ab1032c6e45cdbeb6f786aece5360e0687d338eb065e2d5b3a47d4e6bcbd8f  sigmorphon2017/german-uncovered-test
3a540e30adf286a226ab9faea9b0b08cf0726e8549cdbe8414ae1028a7f1f14f  sigmorphon2020/dev/ady_dev.tsv
13ac315cb0025b243455ec44b5c68a9b6b888071f85028a4b64f749fd6996bcf  sigmorphon2020/dev/arm_dev.tsv
813ac9f3983ad80538ea9aca5d4cc3cfe6308a27cc63076564c043f2650ae62c  sigmorphon2020/dev/bul_dev.tsv
bb86ff20577e0c9706ce3aa88d2ea5963032212bc92facef251ba435f3eb791f  sigmorphon2020/dev/dut_dev.tsv
eb2b3fb761b02591a93981c448c6c7972da0499fd0fb1d7a0b60142463f6b355  sigmorphon2020/dev/fre_dev.tsv
2f0b707103648fb09c04084a8f60a1307cf14b4bfd5d5892664ba32920604e59  sigmorphon2020/dev/geo_dev.tsv
bac8a18261aa39e125db95423cc33dfaa60683d72eb2b0bb933f2f66b913c7a9  sigmorphon2020/dev/gre_dev.tsv
51807c402408a8da95fde02b9f9af35a39715ff0e31020f5fa95937962fa66a1  sigmorphon2020/dev/hin_dev.tsv
5054f1051521f83acf137e918445052cc8702937131a7f7dac7b2b7dad6f78e4  sigmorphon2020/dev/ice_dev.tsv
3169f34527ae54fe1bf4f0aaf3ac5dde71ba0eee31e40d4ff15e4e64a58675a9  sigmorphon2020/dev/rum_dev.tsv
f873313ebf8afc63b55b8a2421225c4981b8556b88c6090bad7f8e362587aa59  sigmorphon2020/test/ady_test.tsv
9957ae5d42f94fa9ae5ffe1737e75efe878b57034f3c40e68b4098f0654e82c4  sigmorphon2020/test/arm_test.tsv
4e05ff7a239bda2ca83e6d167ce1497855f77c94a153892bbe1c9698346a6810  sigmorphon2020/test/bul_test.tsv
f84dde7d2af37aabbb492bf8862be1e69bbe2b95e16728452775fd902cf94197  sigmorphon2020/test/dut_test.tsv
cd75ca22c697f93e23d10898a87a86e1bc08d0d4eb318946f28e085cd1aca9a8  sigmorphon2020/test/fre_test.tsv
f5d2c616ae5800bb958cc03965179c588176356668e7b018fff21a9135f9a588  sigmorphon2020/test/geo_test.tsv
a10265ed5370a687f2bc840d5ac7338c53b36b044d71e2bcfa0b359094f9fd2f  sigmorphon2020/test/gre_test.tsv
027a4a65f3674c2fff19e1c6d28081c78bedc9d7858284143fb188c487c4e9ef  sigmorphon2020/test/hin_test.tsv
1da20f2fd807b797a6c5b6388e34253d8f874fa359435566632c3a058c80f56c  sigmorphon2020/test/ice_test.tsv
6327880174d182d997cd47cd810b8a7e428c2a6349195c5e12c0b628ac6abb20  sigmorphon2020/test/rum_test.tsv
8ab54e92ecf5245ea2ed9a5677df890a3917372fb928e44c1df9b954ffe3c010  sigmorphon2020/train/ady_train.tsv
881b301408460b84443a768b697c7c1e5895994b6157daa3752a4078e088253b  sigmorphon2020/train/arm_train.tsv
726c92b03b5f6e8d414d407141cb82a4782fdac7ef9c7bd3be3c91a5a650bb1f  sigmorphon2020/train/bul_train.tsv
ee825c27cf5cc82a097819bdd6ae50900e449e49504fa3c1d06b318301ef28aa  sigmorphon2020/train/dut_train.tsv
fcc1c1c19a19381105662b412e8de1a143802da40fb401dd3cc452bc935128a6  sigmorphon2020/train/fre_train.tsv
5a9d9cadc41e6c514be51eb257f7005dea67f8a528db3f839cd9bc8f9799caf5  sigmorphon2020/train/geo_train.tsv
acc3450422d1d44e5d596d6b5092919ebf5e0f8a26ddde4ccac7aa9dec1e0996  sigmorphon2020/train/gre_train.tsv
74c5359152b21349bafafdc280b9f7ac1a8391056111f7442b3fed04c2a5251b  sigmorphon2020/train/hin_train.tsv
d3729c6306c6b20b873b1b8e94bc1fa3b70dce7f8c2e0179ad3a434c8803f2ef  sigmorphon2020/train/ice_train.tsv
aac7c0bebd664e9f313bd444e6c4be56fb002b45d3054a75f0c1900dcb8f64f7  sigmorphon2020/train/rum_train.tsv
dcce99504c5f8a00ebf13499aa4d4c2b7fc37614b65127c98aa871855e77080e  sigmorphon2021/eng_us_dev.tsv
726192932a69a7197348ee64898613e94968234ce426cfc67d984baf5ddd317c  sigmorphon2021/eng_us_test.tsv
bbe76f57ee799ef9094b1ed1fecf8861e754ac57c6aa4db7d5b18892c5401f7f  sigmorphon2021/eng_us_train.tsv
c1e341173fcea2951a8ca371956a6f81c76de87b9583c62eb87edd6158fa3a7c  snips/test/seq.in
58c07c9097d5e1f78889765c2a535a160f6455b90b3142055c8051847afcca47  snips/test/seq.out
04ad1e3f2121d83c6478f9a4b17d2dbdc21d06d6127f73cb7af835ed733f9855  snips/train/seq.in
fd5f2121d8055827e5d6b3d3bac30f3d7e94e82a5d437751960cbdd9e1b4f6d3  snips/train/seq.out
64e0f6d8ad8aab3a3828164d7d53731a0993d3ca1aed437ceaca6d3d568d410e  snips/valid/seq.in
712e6d34feb8d52d208b820a5f8bae6e6ff990f08374507dfde22de389088319  snips/valid/seq.out
b7688f84f99fa33c17397c14d8bd9cef1fdeb2ee0bf50074767023aee8926e28  tatoeba/deu-eng.zip
531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6  ud_english_ewt/en_ewt-ud-dev.conllu
e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd  ud_english_ewt/en_ewt-ud-test.conllu
3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b  ud_english_ewt/en_ewt-ud-train.conllu
"""

SHA256 = {name: checksum for checksum, name in map(str.split, _LINES.split("\n")[1:-1])}
"""The SHA-256 of each file, in hexadecimal."""


Place = Callable[[str], str]
"""From the name of a file to its path."""


@dataclass(frozen=True, kw_only=True)
class PublishedTask(Task):
    """A task whose files are found below ``$STRUCTPRED_DATA``, in the cache, or downloaded; see `DataSet`.

    Attributes:
        origin: the data set, its licence and what to cite.
    """

    origin: ClassVar[DataSet]

    @abstractmethod
    def reader(self, place: Place) -> Task:
        """The task that reads the files once it is told where they are."""

    def load(self) -> Splits:
        """Find the files and read them.

        Raises:
            DataError: a file cannot be found, downloaded or read.
        """
        return self.reader(self.place).load()

    def place(self, name: str) -> str:
        """The path of one of the files, which is downloaded if need be.

        Raises:
            DataError: it cannot be found or downloaded.
        """
        return str(self.origin.path(name))

    def parse(self, text: str) -> Source:
        """The input symbols of one line of text.

        Raises:
            DataError: it is not what an input must be.
        """
        return self.reader(str).parse(text)

    def render(self, output: Symbols) -> str:
        """Output symbols as the files write them."""
        return self.reader(str).render(output)


def github(repository: str, commit: str, path: str) -> str:
    """The address of a file at one commit."""
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


def files(folder: str, addresses: Mapping[str, str]) -> dict[str, Published]:
    """Files by name, with the SHA-256 that is known of them."""
    return {name: Published(url, SHA256.get(f"{folder}/{name}")) for name, url in addresses.items()}
