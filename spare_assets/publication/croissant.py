"""Croissant 1.0 metadata (JSON-LD) of the dataset's Parquet files: what lies where, and what each column means.

Which files there are is told; the card's own words are not repeated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from spare_assets.publication.dataset_card import PAPER
from spare_assets.publication.facts import CardFacts, declared
from spare_assets.storage.schemas import Column

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_PARQUET = "application/x-parquet"
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_LICENCES = re.compile(r"[A-Za-z0-9.+-]+")


def croissant(facts: CardFacts, files: Iterable[Mapping[str, Any]], columns: Iterable[Column]) -> str:
    """The metadata as JSON. `files`: Parquet files by `file`, `bytes`, `sha256`; `columns`: those in each of them."""
    files, columns = list(files), list(columns)
    document: dict[str, Any] = {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": facts.title,
        "description": f"{facts.totals['pairs']} question-answer pairs about where things are, in "
        f"{facts.totals['samples']} samples: captioned images of {', '.join(s.key for s in facts.sources)}.",
        "version": f"1.0.0+{facts.version}",
        "license": sorted({_licence(s.settings.licence) for s in facts.sources}),
        "citeAs": PAPER,
        "inLanguage": list(facts.languages),
        "distribution": [_file_object(file) for file in files],
        "recordSet": [_record_set(str(file["file"]), columns) for file in files],
    }
    if facts.repository:
        document["url"] = f"https://huggingface.co/datasets/{facts.repository}"
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def _licence(licence: str) -> str:
    """A licence as an address where it is an SPDX identifier."""
    if not declared(licence):
        return "unknown"
    return f"https://spdx.org/licenses/{licence}.html" if _LICENCES.fullmatch(licence) else licence


def record_set(file: str) -> str:
    """The name of the record set of a data file: `data/docci/00000.parquet` is `docci-00000`."""
    return "-".join(file.removesuffix(".parquet").split("/")[1:])


def _file_object(file: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file["file"],
        "name": file["file"],
        "contentUrl": file["file"],
        "contentSize": f"{file['bytes']} B",
        "encodingFormat": _PARQUET,
        "sha256": file["sha256"],
    }


def _record_set(file: str, columns: Iterable[Column]) -> dict[str, Any]:
    name = record_set(file)
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/caption_id"},
        "field": [_field(name, file, column) for column in columns],
    }


def _field(record_set: str, file: str, column: Column) -> dict[str, Any]:
    field = _described(f"{record_set}/{column.name}", column.description)
    source = {"fileObject": {"@id": file}, "extract": {"column": column.name}}
    if isinstance(column.dtype, pl.List) and isinstance(column.dtype.inner, pl.Struct):
        parts = [
            _described(f"{field['@id']}/{part.name}", f"`{part.name}` of each")
            | {"dataType": _data_type(part.dtype), "source": source | {"transform": {"jsonPath": part.name}}}
            for part in column.dtype.inner.fields
        ]
        return field | {"repeated": True, "subField": parts}
    if isinstance(column.dtype, pl.Struct):
        return field | {"dataType": "sc:ImageObject", "source": source | {"transform": {"jsonPath": "bytes"}}}
    return field | {"dataType": _data_type(column.dtype), "source": source}


def _described(identity: str, description: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": identity, "name": identity, "description": description}


def _data_type(dtype: Any) -> str:
    return "sc:Float" if dtype in (pl.Float32, pl.Float64) else "sc:Text"
