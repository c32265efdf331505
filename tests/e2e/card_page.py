"""A plain page that shows cards with a model that only pretends: what JupyterLab and Panel give, and nothing of them."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import threading

from pveops.present.esm import card_module
from pveops.present.tokens import FONTS, fonts_css, scheme_css, static

CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_PAGE = """<!doctype html><html lang="en" data-pv-scheme="{scheme}"><head><meta charset="utf-8"><title>Cards</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width,initial-scale=1"><style>{css}
body{{margin:0;padding:{pad}px;background:var(--pv-bg)}}main{{display:grid;grid-template-columns:repeat({columns},minmax(0,1fr));gap:20px;align-items:start}}</style></head>
<body><main id="desk"></main><script type="module">
import card from "./card.js";
const views = {views};
window.sent = [];
window.models = {{}};
function fake(name, view) {{
  const state = {{ view, acks: [] }}, heard = {{}};
  return {{
    get: (key) => state[key], off: () => {{}}, on: (event, callback) => (heard[event] ||= []).push(callback),
    send: (message) => {{ window.sent.push({{ name, ...message }}); }},
    put(key, value) {{ state[key] = value; (heard["change:" + key] || []).forEach((callback) => callback()); }},
    say(message, buffers) {{ (heard["msg:custom"] || []).forEach((callback) => callback(message, buffers)); }},
  }};
}}
for (const [name, view] of Object.entries(views)) {{
  const el = document.createElement("div");
  el.id = name;
  document.getElementById("desk").append(el);
  window.models[name] = fake(name, {{ v: 1, now_ms: Date.now(), cards: [{{ key: view.id || "draft", ...view }}] }});
  card.render({{ model: window.models[name], el }});
  const hello = window.sent.find((message) => message.name === name && message.type === "hello");
  if ({answers}) window.models[name].put("acks", [`${{hello.client}}:${{hello.seq}}`]);
}}
await document.fonts.ready;
window.ready = true;
</script></body></html>"""


def page_html(views, *, scheme="dark", columns=2, pad=20, answers=True):
    """The page for these cards (name to card JSON)."""
    css = fonts_css("/static") + scheme_css(":root", scheme)
    return _PAGE.format(scheme=scheme, css=css, views=json.dumps(views), columns=columns, pad=pad, answers=json.dumps(answers))


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, pages, *args):
        self._pages = pages
        super().__init__(*args)

    def do_GET(self):
        body, kind = self._pages.get(self.path, (None, ""))
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.end_headers()
        self.wfile.write(body or b"not here")

    def log_message(self, *_args):
        pass


@contextlib.contextmanager
def serving(pages):
    """Serve HTML pages (path to text) with the card module and the fonts; gives the base address."""
    files = {path: (text.encode(), "text/html; charset=utf-8") for path, text in pages.items()}
    files["/card.js"] = (card_module().encode(), "text/javascript")
    files |= {f"/static/{file}": (static(file), "font/woff2") for _, file, _ in FONTS}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def guard(context):
    """Block what is not loopback; the list it returns must stay empty."""
    asked = []

    def check(route):
        url = route.request.url
        if url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:")):
            route.continue_()
        else:
            asked.append(url)
            route.abort()

    context.route("**/*", check)
    return asked
