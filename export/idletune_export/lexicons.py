"""Build device/idletune/data/lexicons.json, the built-in domain lexicons, from Empath (Ethan Fast, MIT).

    pip install --no-deps empath==0.89
    python -m idletune_export.lexicons device/idletune/data/lexicons.json

Empath's 194 categories are too fine for a buffer of a hundred sets, so sixteen domains of a phone user's
life each take the union of a few. What is changed on the way, and why:
- a word that ends up in more than two domains tells none of them apart: dropped;
- so are a few dozen everyday words (EVERYDAY) that decided the domain of texts they say nothing about;
- phrases (`last_straw`) and terms with signs inside (`9/11`) never equal a single word of a text: dropped;
- Empath lists base forms, people write "symptoms" and "allergies": regular plurals are added.

Only the package's data file is read: importing empath would need `requests`.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from idletune.errors import DamagedDataError, IdleTuneError, UsageError
from idletune.words import words

VERSION = "0.89"
SHA256 = "592c6974c183b65b56248628316631f938c29c2ab90334022cdbfdcda45ef1f7"  # of its categories.tsv
MOST_DOMAINS = 2  # a word in more of them is dropped

DOMAINS = {
    "animals": "animal pet",
    "arts": "art music musical dance",
    "cooking": "cooking eating restaurant alcohol",
    "education": "school college science reading writing philosophy",
    "emotion": "sadness joy fear anger nervousness love disappointment contentment sympathy irritability "
    "confusion shame",
    "family": "family children friends wedding",
    "fashion": "fashion clothing appearance fabric",
    "home": "home domestic_work cleaning furniture real_estate",
    "law": "law crime prison stealing government politics",
    "medicine": "health medical_emergency injury healing hygiene",
    "money": "money banking payment economics shopping",
    "nature": "plant farming rural weather ocean",
    "sports": "sports exercise swimming hiking",
    "technology": "computer programming internet technology phone social_media messaging",
    "travel": "vacation tourism air_travel traveling beach driving car sailing",
    "work": "office work white_collar_job blue_collar_job occupation meeting business",
}

# Found by reading which words decided the domain of dialogues from six public data sets.
EVERYDAY = frozenset(
    """
    always answer average best better blue break call capable care cause change cool create cut deal
    edge event experience face fall far figure find fix following hear hello house information
    interest join key kind leave light like list little live living love mind model morning move
    multiple name need nice night number official order popular power practice pretty question
    relative remove save sense service short show sound speak stop stuff subject tall tend top type
    united want well went white why word worth
""".split()
)

# Empath comes under the MIT licence, which asks that this notice go with every substantial portion.
LICENCE = """\
MIT License. Copyright (c) 2016 Ethan Fast. Permission is hereby granted, free of charge, to any person \
obtaining a copy of this software and associated documentation files (the "Software"), to deal in the \
Software without restriction, including without limitation the rights to use, copy, modify, merge, \
publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the \
Software is furnished to do so, subject to the following conditions: The above copyright notice and this \
permission notice shall be included in all copies or substantial portions of the Software. THE SOFTWARE \
IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE \
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL \
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN \
ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE \
OR OTHER DEALINGS IN THE SOFTWARE."""


def find_categories() -> Path:
    """The categories.tsv of the installed empath package. Raises UsageError when it is not installed."""
    package = find_spec("empath")
    if package is None or package.origin is None:
        raise UsageError(f"empath is not installed; run: pip install --no-deps empath=={VERSION}")
    return Path(package.origin).parent / "data" / "categories.tsv"


def read_categories(path: Path) -> dict[str, set[str]]:
    """Category -> its terms, from a file with one category a line, fields separated by tabs.

    Raises UsageError for a missing file and DamagedDataError when it is not the one of empath 0.89.
    """
    if not path.is_file():
        raise UsageError(f"no categories.tsv at {path}; run: pip install --no-deps empath=={VERSION}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DamagedDataError(f"{path} is not empath {VERSION}'s; give the file of that version")
    rows = [line.split("\t") for line in content.decode("utf-8").splitlines()]
    return {name: set(terms) for name, *terms in rows}


def build_domains(categories: dict[str, set[str]]) -> dict[str, list[str]]:
    """Domain -> sorted words: unions, with plurals, without everyday words and words of many domains."""
    domains = {domain: _union(categories, names.split()) for domain, names in DOMAINS.items()}
    spread = Counter(word for members in domains.values() for word in members)
    return {
        domain: sorted(word for word in members if spread[word] <= MOST_DOMAINS) for domain, members in domains.items()
    }


def _union(categories: dict[str, set[str]], names: list[str]) -> set[str]:
    terms = set().union(*(categories[name] for name in names))
    singles = {term for term in terms if words(term) == [term]}
    return {form for word in singles - EVERYDAY for form in (word, plural(word))} - EVERYDAY


def plural(word: str) -> str:
    """The regular plural (or third person) of an English word; a word that ends in s stays as it is."""
    if word.endswith("s"):
        return word
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("x", "z", "ch", "sh")) else "s")


def write(domains: dict[str, list[str]], out: Path) -> None:
    """Write the JSON, one domain a line so that a change shows as one."""
    source = (
        f"Empath {VERSION} by Ethan Fast, https://github.com/Ejhfast/empath-client, changed as "
        f"export/idletune_export/lexicons.py says; categories.tsv sha256 {SHA256}"
    )
    lexicons = ",\n".join(f"  {json.dumps(name)}: {json.dumps(members)}" for name, members in domains.items())
    head = f'{{\n "source": {json.dumps(source)},\n "licence": {json.dumps(LICENCE)},\n'
    out.write_text(f'{head} "lexicons": {{\n{lexicons}\n }}\n}}\n', encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="idletune_export.lexicons", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="where to write, normally device/idletune/data/lexicons.json")
    parser.add_argument("--categories", type=Path, help="empath's categories.tsv (default: as installed)")
    options = parser.parse_args(arguments)
    try:
        domains = build_domains(read_categories(options.categories or find_categories()))
    except IdleTuneError as error:
        print(error, file=sys.stderr)
        return 2
    write(domains, options.out)
    print(f"{options.out}: {len(domains)} domains, {sum(map(len, domains.values()))} words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
