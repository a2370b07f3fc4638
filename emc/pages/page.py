"""A page from what a journal holds: its sections, and the HTML. Rendering needs jinja2, altair and itables."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.errors import JournalError, OutputError
from emc.files import check_outputs, write_text
from emc.pages.account import costs, procedure
from emc.pages.claims import claims
from emc.pages.comparisons import comparisons
from emc.pages.curves import curves
from emc.pages.measurements import measurements
from emc.pages.parts import Section
from emc.recorded import REMEDY, Recorded, read_recorded

if TYPE_CHECKING:
    from markupsafe import Markup

#: Packages that draw the page, beside altair's own: the tables', the charts', the template's.
NEEDED = ("altair", "vl_convert", "itables", "jinja2")


def report(
    journal: str | os.PathLike[str],
    path: str | os.PathLike[str],
    title: str | None = None,
    kept: Collection[str] | None = None,
) -> None:
    """Write what a journal holds as one page of HTML, which needs no network.

    Args:
        journal: its path.
        path: of the page.
        title: of the page; default: the journal's name.
        kept: fingerprints of the measurements to keep; default: all.

    Raises:
        JournalError: the journal cannot be read, or holds nothing of that.
        OutputError: the page cannot be written or would replace the journal, or a package that draws it is missing.
    """
    check_outputs([path], [journal])
    _check_packages()
    recorded = _kept(read_recorded(journal), kept)
    if not (recorded.results or recorded.curves or recorded.failed):
        which, remedy = ("", REMEDY) if kept is None else (" among those asked for", "ask for others")
        raise JournalError(
            f'a report needs a finished measurement or curve, got none{which} in "{os.fspath(journal)}"; {remedy}'
        )
    write_text(Path(path), html(sections(recorded), title or f"EMC report: {Path(journal).name}"))


def _check_packages() -> None:
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            remedy = 'pip install "emc[report]"'
            raise OutputError(f"a report is drawn by {', '.join(NEEDED)}, got no {name}; {remedy}") from None


def _kept(recorded: Recorded, fingerprints: Collection[str] | None) -> Recorded:
    if fingerprints is None:
        return recorded
    results = tuple(result for result in recorded.results if result.fingerprint in fingerprints)
    failed = {name: reason for name, reason in recorded.failed.items() if name in fingerprints}
    return replace(recorded, results=results, failed=failed)


def sections(recorded: Recorded) -> list[Section]:
    """The page's sections, in order; those with nothing to say are left out."""
    found = []
    if recorded.results or recorded.failed:
        found.append(measurements(recorded.results, recorded.failed))
    if recorded.curves:
        found.append(curves(recorded.curves))
    if len(recorded.results) > 1:
        found.append(comparisons(recorded.results))
    judged = claims(recorded.results, recorded.curves)
    if judged is not None:
        found.append(judged)
    if recorded.results or recorded.curves:
        found += [costs(recorded.results, recorded.curves), procedure(recorded.results, recorded.curves)]
    return found


def html(parts: Sequence[Section], title: str) -> str:
    """The page. All texts are escaped, and a policy in its head lets a browser run no script but the page's own."""
    import jinja2

    from emc.pages.charts import specification

    kinds = {figure.kind for section in parts for figure in _figures(section)}
    sources = {name: asdict(source) for section in parts for name, source in section.sources.items()}
    data = {"charts": {kind: specification(kind) for kind in sorted(kinds)}, "sources": sources}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = breakable
    script = _script()
    return environment.from_string(_own("page.html")).render(
        title=title,
        sections=parts,
        data=data,
        script=script,
        styles=_table_styles() + _own("page.css"),
        policy=_policy(script),
    )


def breakable(text: str) -> Markup:
    """A text, escaped, that may be broken behind the name and the options of a plug-in."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split("(?<=[,:])", text))


def _figures(section: Section) -> list[Any]:
    details = [detail for table in section.tables for detail in table.details]
    return [*section.figures, *(figure for detail in details for figure in detail.figures)]


def _own(name: str) -> str:
    return files("emc.pages").joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    """The page's module: the libraries as data, then what puts them to use."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    libraries = {
        "DataTable": _bundle(".js"),
        "vegaEmbed": vl_convert.javascript_bundle("export default vegaEmbed;", vl_version=version),
    }
    imports = [f'import {name} from "{_as_url(text)}";' for name, text in libraries.items()]
    return "\n".join([*imports, _own("page.js")])


def _table_styles() -> str:
    return _bundle(".css")


def _bundle(suffix: str) -> str:
    """DataTables as itables brings it along."""
    import itables.options

    return Path(itables.options.dt_bundle).with_suffix(suffix).read_text(encoding="utf-8")


def _as_url(text: str) -> str:
    return "data:text/javascript;base64," + base64.b64encode(text.encode()).decode()


def _policy(script: str) -> str:
    """What the page may do: no request at all, and only this script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules: Mapping[str, str] = {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}' 'unsafe-eval' data:",  # charts compile their expressions
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
