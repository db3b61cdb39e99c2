"""The question-answer pairs of MedQuAD's XML as JSON lines for `samtone import pairs`.

    python3 benches/medquad.py MedQuAD > medquad.jsonl

MedQuAD is a clone of https://github.com/abachaa/MedQuAD; its three MedlinePlus folders without
answers give nothing.
"""

import json
import pathlib
import sys
import xml.etree.ElementTree as xml

for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.xml")):
    for pair in xml.parse(path).iter("QAPair"):
        texts = (pair.findtext(name) or "" for name in ("Question", "Answer"))
        question, answer = (" ".join(text.split()) for text in texts)
        if question and len(answer) >= 20:
            print(json.dumps({"query": question, "positive": answer}))
