"""How the page looks: dark and neutral, so that the picture is the brightest thing on it."""

from __future__ import annotations

from importlib.resources import files

from s5engine.view.keys import keys_list

BACKGROUND, PANEL, LINE, WORDS, QUIET = "#101113", "#17191c", "#2a2d32", "#d6d8dc", "#878c95"
ACCENT = "#e0a44a"

#: Width of the column of controls, px.
COLUMN = 248

_PAGE = f"""
html, body {{ margin: 0; height: 100%; background: {BACKGROUND}; color: {WORDS};
  overflow: clip; font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }}
body > div {{ height: 100vh; }}
#unreached {{ position: fixed; inset: 0; max-width: 34em; margin: auto; height: fit-content;
  visibility: hidden; animation: late 0s 5s forwards; }}
#keys {{ background: {PANEL}; color: {WORDS}; border: 1px solid {LINE}; border-radius: 8px;
  font-size: 13px; padding: 14px 22px; }}
#keys::backdrop {{ background: #0008; }}
#keys h2 {{ font-size: 15px; margin: 0 0 8px; }}
#keys th {{ text-align: left; padding: 3px 22px 3px 0; color: {ACCENT}; white-space: nowrap; }}
#keys button {{ margin-top: 10px; }}
@keyframes late {{ to {{ visibility: visible; }} }}
"""

#: The page's own scripts: the first makes what the others add to.
_SCRIPTS = ("page.js", "draw.js", "keys.js", "names.js")

#: What a page shows that has no connection to its server after five seconds.
_UNREACHED = (
    "This page has come, but its connection (a websocket) was not made. Open it by the address "
    "that s5 view printed, not by another name or port: where the port is forwarded (ssh -L), the "
    "same number is needed on both sides, which --port sets; a proxy in between has to pass "
    "websockets on."
)

#: For each widget: they live in shadow trees, which the page's own style does not reach.
WIDGETS = f"""
:host {{ color: {WORDS}; font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
  --border-color: {LINE}; }}
label, .bk-slider-title, .bk-input-group > label {{ color: {QUIET}; font-size: 11px;
  margin-bottom: 3px; }}
.bk-slider-value {{ color: {WORDS}; font-weight: 600; }}
.bk-input {{ background-color: {BACKGROUND}; color: {WORDS}; border: 1px solid {LINE};
  border-radius: 5px; font-size: 12px; height: 28px; padding: 2px 8px; }}
.bk-input:focus {{ border-color: {ACCENT}; box-shadow: none; }}
.bk-btn {{ background: {BACKGROUND} !important; color: {WORDS} !important;
  border: 1px solid {LINE} !important; border-radius: 5px; font-size: 11.5px; padding: 5px 4px;
  text-shadow: none; box-shadow: none !important; }}
.bk-btn:hover {{ border-color: {QUIET} !important; }}
.bk-btn.bk-active {{ background: {ACCENT} !important; color: {BACKGROUND} !important;
  border-color: {ACCENT} !important; font-weight: 600; }}
.noUi-target {{ background: {LINE}; border: 0; box-shadow: none;
  height: 6px !important; margin: 4px 0; }}
.noUi-connects, .noUi-connect {{ background: {LINE} !important; }}
.noUi-handle {{ background: {ACCENT} !important; border: 0 !important;
  width: 14px !important; height: 14px !important; top: -4px !important;
  right: -7px !important; border-radius: 50% !important; box-shadow: none !important;
  cursor: pointer !important; }}
.noUi-handle::before, .noUi-handle::after {{ display: none; }}
label.box {{ display: contents; color: inherit; font-size: inherit; }}
label.box, label.box * {{ cursor: pointer; }}
input[type=checkbox] {{ accent-color: {ACCENT}; color-scheme: dark; margin-left: 0; }}
.bk-disabled, :host(.bk-disabled) {{ opacity: 0.4; }}
"""

HEADING = f"""
:host {{ color: {QUIET}; font: 600 10.5px system-ui, "DejaVu Sans", sans-serif;
  letter-spacing: 0.09em; text-transform: uppercase; border-top: 1px solid {LINE};
  padding-top: 10px; margin-top: 6px; }}
"""
TITLE = f"""
:host {{ color: {WORDS}; font: 600 17px system-ui, "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere; }}
"""
NOTE = f"""
:host {{ color: {QUIET}; font: 11.5px/1.45 system-ui, "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere; }}
"""
#: What the page says last stays in sight, however far the controls are scrolled.
SAID = f"""{NOTE}
:host {{ position: sticky !important; bottom: -12px; z-index: 1; background: {PANEL};
  padding-bottom: 12px; flex-shrink: 0; }}
"""
READOUT = f"""
:host {{ color: {QUIET}; font: 12px "DejaVu Sans Mono", ui-monospace, monospace;
  background: {PANEL}; padding: 5px 12px; white-space: pre; overflow: hidden;
  box-sizing: border-box; }}
"""
#: The name of a panel, over its picture.
CAPTION = f"""
:host {{ color: {WORDS}; font: 600 12px system-ui, "DejaVu Sans", sans-serif; z-index: 1;
  background: {PANEL}; border-radius: 4px; padding: 2px 8px; pointer-events: none; }}
"""
#: Panels lie side by side where there is room, else one above the other.
PANELS = """
@media (max-width: 999px) { :host { flex-direction: column !important; } }
"""
SIDE = f"""
:host {{ background: {PANEL}; border-right: 1px solid {LINE}; padding: 16px 14px 12px;
  box-sizing: border-box; overflow-y: auto; overflow-x: hidden; }}
"""


def template() -> str:
    """Return the page around Bokeh's document, for jinja2."""
    folder = files("s5engine.view")
    script = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return (
        '{% block preamble %}<meta name="viewport" content="width=device-width, initial-scale=1">'
        "{% endblock %}{% block postamble %}\n"
        '<link rel="icon" href="data:,">\n'
        f"<style>{{% raw %}}{_PAGE}{{% endraw %}}</style>\n"
        f"<script>{{% raw %}}{script}{{% endraw %}}</script>\n{{% endblock %}}\n"
        f'{{% block contents %}}<p id="unreached">{_UNREACHED}</p>{keys_list()}{{{{ super() }}}}'
        "{% endblock %}"
    )
