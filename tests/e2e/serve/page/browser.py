"""Chromium at the page, and what no test of it may see: errors in the console, requests to elsewhere."""
import contextlib
import re
import socket
import threading
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

# Machines that test are busy with other things too.
expect.set_options(timeout=20_000)

# Keeps every sentence the live cards said, however short.
WATCH = """
window.said = new Set();
new MutationObserver(() => {
  for (const each of document.querySelectorAll(".stage-name, .card .hint, .card .error:not([hidden])")) {
    window.said.add(each.textContent);
  }
  for (const each of document.querySelectorAll(".card progress[value]")) window.most = Math.max(window.most ?? 0, each.value);
  if (document.querySelector(".card img.unfinished:not([hidden])")) window.previewed = true;
}).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
"""


class Visit:
    """One person's browser at a server. `allowed`: what the console may say, for tests in which the server refuses."""

    def __init__(self, browser, port, allowed=None, **settings):
        self.origin, self.allowed = f"http://127.0.0.1:{port}", allowed
        self.faults = []
        self.context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, "locale": "en-GB", **settings})
        self.context.set_default_timeout(20_000)
        self.context.add_init_script(WATCH)
        self.context.on("request", self.check_request)
        self.page = self.context.new_page()
        self.page.on("console", self.check_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"thrown: {error}"))

    def check_request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.faults.append(f"asked elsewhere: {request.url}")

    def check_console(self, message):
        if message.type in ("error", "warning") and not (self.allowed and re.search(self.allowed, message.text)):
            self.faults.append(f"console: {message.text}")

    def open(self, view=""):
        self.page.goto(f"{self.origin}/#/{view}")
        return self.page

    def check_accessible(self, what):
        results = Axe().run(self.page)
        assert results.violations_count == 0, f"{what}: {results.generate_report()}"

    def check_width(self, what):
        wide = self.page.evaluate("""() => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => e.outerHTML.slice(0, 100))""")
        assert wide == [], f"{what} is wider than the screen: {wide[:5]}"


@contextlib.contextmanager
def visit(browser, port, **settings):
    one = Visit(browser, port, **settings)
    try:
        yield one
        one.page.wait_for_timeout(50)
        assert one.faults == []
    finally:
        one.context.close()


def drop(page, files, target="#drop"):
    """Drops [(name, type, bytes)] as if from the desktop."""
    transfer = page.evaluate_handle("""(files) => {
        const transfer = new DataTransfer();
        for (const [name, type, text] of files) {
          transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type }));
        }
        return transfer;
    }""", files)
    page.dispatch_event(target, "dragover", {"dataTransfer": transfer})
    page.dispatch_event(target, "drop", {"dataTransfer": transfer})


def free_size(page, side):
    page.get_by_text("Free", exact=True).click()
    page.get_by_label("Width").fill(str(side))
    page.get_by_label("Height").fill(str(side))


class Line:
    """A line between browser and server that can break. `port` is the browser's end."""

    def __init__(self, server_port):
        self.server_port, self.asked, self.cut = server_port, [], False
        self.peers = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            if self.cut:
                peer.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.server_port))
            except OSError:
                peer.close()
                continue
            self.peers += [peer, far]
            threading.Thread(target=self.pump, args=(peer, far, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, peer, False), daemon=True).start()

    def pump(self, source, target, requests):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if requests:
                    self.asked.append(data)
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def break_off(self):
        self.cut = True
        for each in self.peers:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.peers.clear()

    def mend(self):
        self.cut = False

    def close(self):
        self.listener.close()
        self.break_off()
