"""Settings of the documentation's site: `make docs`."""

from contextlib import suppress
from importlib.metadata import version as installed_version
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any, get_type_hints

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

ROOT = Path(__file__).parents[1]

project = "sb3_nbsp"
author = "The sb3_nbsp developers"
copyright = "the sb3_nbsp developers, MIT licence"
release = version = installed_version("sb3-nbsp")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = f"sb3_nbsp {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"

# Notebooks are shown as they are stored in examples/, which `make notebooks` runs.
NOTEBOOKS = ROOT / "docs" / "notebooks"
nb_execution_mode = "off"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
maximum_signature_line_length = 100


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("config-inited", take_notebooks)
    app.connect("source-read", add_title)
    app.connect("autodoc-before-process-signature", plain_types)
    app.connect("autodoc-process-signature", readable_defaults)
    app.add_post_transform(FileLinks)
    app.connect("missing-reference", public_name)
    app.add_html_math_renderer("mathml", (formula, None), (formula_block, None))


def take_notebooks(app: Sphinx, config: Any) -> None:
    """Put the notebooks where Sphinx finds them, with links that lead from there."""
    NOTEBOOKS.mkdir(exist_ok=True)
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        text = notebook.read_text().replace("](../docs/", "](../")
        copy = NOTEBOOKS / notebook.name
        if not copy.is_file() or copy.read_text() != text:
            copy.write_text(text)


def plain_types(app: Sphinx, function: Any, bound_method: bool) -> None:
    """A signature shows types; what our checks know beside them (``Annotated``) stands with the parameters."""
    if not isinstance(function, FunctionType):
        return
    types = function.__annotations__
    for name, hint in types.items():
        with suppress(NameError):  # imported for type checkers only: Sphinx finds it
            types[name] = get_type_hints(SimpleNamespace(__annotations__={name: hint}), function.__globals__)[name]
    shown = getattr(function, "__signature__", None)  # Sphinx's, with defaults as they are written
    if shown is not None:
        parameters = [one.replace(annotation=types.get(one.name, one.annotation)) for one in shown.parameters.values()]
        function.__signature__ = shown.replace(parameters=parameters)


def readable_defaults(app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returned: str) -> Any:
    """A dataclass's new list or dict: Sphinx cannot read Python's ``<factory>`` and would show the whole signature raw."""
    return signature and signature.replace("<factory>", "..."), returned


def formula(translator: Any, node: nodes.Element) -> None:
    """A formula in a line, as MathML, which browsers draw without a script."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def formula_block(translator: Any, node: nodes.Element) -> None:
    """A formula of its own."""
    translator.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def add_title(app: Sphinx, page: str, source: list[str]) -> None:
    """A table as a command wrote it has no title, and a page needs one; a report's says of what."""
    *_, above, folder, name = ("", "", *page.split("/"))
    if name in ("report", "probe") and page.startswith("results/"):
        of = above if name == "report" else folder
        source[0] = source[0].replace(f"# {name.capitalize()}", f"# {name.capitalize()}: {of}", 1)
    elif page.startswith("results/") and not source[0].lstrip().startswith("#"):
        source[0] = f"# {name.capitalize()}: {folder}\n\n{source[0]}"


def public_name(app: Sphinx, env: Any, node: nodes.Element, content: nodes.Element) -> nodes.Node | None:
    """Docstrings name ``sb3_nbsp.neurons.networks.find_networks``, the site shows ``sb3_nbsp.neurons.find_networks``."""
    if node.get("refdomain") != "py":
        return None
    target, known = node["reftarget"], env.get_domain("py").objects
    parts = target.split(".")
    if parts[0] == "sb3_nbsp":
        shorter = (".".join(parts[:2] + parts[3:]), ".".join(parts[:1] + parts[3:]), ".".join(parts[:1] + parts[2:]))
        found = [name for name in shorter if name in known][:1]
    else:  # a class of the same module
        found = [name for name in known if name.startswith("sb3_nbsp.") and name.endswith(f".{target}")]
    if len(found) != 1:
        return None
    entry = known[found[0]]
    uri = app.builder.get_relative_uri(node["refdoc"], entry.docname)
    return nodes.reference("", "", content, internal=True, refuri=f"{uri}#{entry.node_id}")


class FileLinks(SphinxPostTransform):
    """
    Links that are made for people who read the files: a folder's link goes to its page; what is on no page (files of the
    repository, folders of results) loses its link and keeps its text. What does not exist is left for MyST to warn of.
    """

    default_priority = 8  # before MyST's

    def run(self, **kwargs: Any) -> None:
        """See Sphinx."""
        for node in list(self.document.findall(addnodes.pending_xref)):
            path = self._file(node) if node.get("reftype") == "myst" else None
            if path is not None:
                node.replace_self(self._link(path, node[0].deepcopy()))

    def _file(self, node: nodes.Element) -> Path | None:
        """What a link names, if it is a file or folder that MyST takes for none of the site's pages."""
        target = node["reftarget"].split("#")[0]
        if node.get("refdomain") == "doc":  # a page, or what looks like one: a notebook in examples/
            notebook = ROOT / "examples" / f"{Path(target).name}.ipynb"
            return notebook if "examples" in Path(target).parts and notebook.is_file() else None
        places = (Path(self.env.doc2path(self.env.docname)).parent / target, ROOT / target)
        return next((place.resolve() for place in places if target and place.exists()), None)

    def _link(self, path: Path, content: nodes.Element) -> nodes.Element:
        page = path / "README.md" if path.is_dir() else path
        page = NOTEBOOKS / path.name if path.suffix == ".ipynb" else page
        page = ROOT / "docs" / "guide" / "notebooks.md" if path == ROOT / "examples" else page
        name = self.env.path2doc(page) if page.is_relative_to(ROOT / "docs") else None
        if name not in self.env.all_docs:
            return content
        uri = self.app.builder.get_relative_uri(self.env.docname, name)
        return nodes.reference("", "", content, internal=True, refuri=uri)
