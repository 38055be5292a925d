"""Adapters that requests name: --lora-dir, `lora`, /v1/loras."""
import base64
import shutil

import pytest

from conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "tiny_a" / "lora"
DRAW = {"prompt": "a fox", "size": "64x64", "seed": 3}


@pytest.fixture
def adapters(tmp_path):
    folder = tmp_path / "adapters"
    folder.mkdir()
    shutil.copy(GOLDEN / "dit" / "adapter_model.safetensors", folder / "sketch.safetensors")
    shutil.copy(GOLDEN / "ar" / "adapter_model.safetensors", folder / "words:v2.safetensors")
    (folder / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0no adapter")
    return folder


def draw(server, **more):
    answer = server.ask("POST", "/v1/images/generations", {**DRAW, **more})
    assert answer.status == 200, answer.body
    return base64.b64decode(answer.json["data"][0]["b64_json"])


def refusal(server, **more):
    answer = server.ask("POST", "/v1/images/generations", {**DRAW, **more})
    assert answer.status == 400, answer.body
    return answer.json["error"]["message"]


def test_adapters_by_request(start, adapters, tmp_path):
    server = start("--lora-dir", adapters)
    listed = server.ask("GET", "/v1/loras").json
    assert [each["id"] for each in listed["data"]] == ["broken", "sketch", "words:v2"]
    plain = draw(server)
    whole, half = draw(server, lora="sketch"), draw(server, lora="sketch:0.5")
    assert len({plain, whole, half}) == 3
    assert draw(server, lora=[{"name": "sketch", "scale": 0.5}]) == half
    both = draw(server, lora=["sketch", "words:v2"])
    assert draw(server, lora=[{"name": "words:v2"}, "sketch"]) not in (plain, whole)
    assert draw(server) == draw(server, lora=[]) == plain
    job = server.ask("POST", "/v1/jobs", {**DRAW, "lora": "sketch:0.5"}).json
    assert job["request"]["lora"] == [{"name": "sketch", "scale": 0.5}]
    assert server.wait_for_job(job["id"])["state"] == "done"
    # The page draws again by a form, where a list is text.
    fields = {**DRAW, "lora": '[{"name": "sketch", "scale": 0.5}, "words:v2"]'}
    form = "".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    job = server.ask("POST", "/v1/jobs", form + "--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}).json
    assert job["request"]["lora"] == [{"name": "sketch", "scale": 0.5}, {"name": "words:v2", "scale": 1.0}]
    # As the server that is started with them.
    (tmp_path / "fixed").mkdir()
    fixed = start("--lora", f"{adapters}/sketch.safetensors", "--lora", f"{adapters}/words:v2.safetensors",
                  folder=tmp_path / "fixed")
    assert draw(fixed) == both
    assert draw(fixed, lora="sketch") == whole
    assert draw(fixed, lora=[]) == plain


def test_what_is_wrong_with_an_adapter(start, adapters):
    server = start("--lora-dir", adapters)
    plain = draw(server)
    assert "'broken'" in refusal(server, lora="broken") and str(adapters) not in refusal(server, lora="broken")
    assert "sketch" in refusal(server, lora="absent")
    for name in ("../adapters/sketch", f"{adapters}/sketch", "", "sketch.safetensors"):
        assert "there is no adapter" in refusal(server, lora=name)
    for value in (7, {"name": 7}, {"name": "sketch", "scale": "strong"}, {"name": "sketch", "path": "x"},
                  "sketch:strong", "sketch:nan", "sketch:1e9", ["sketch", "sketch:2"], ["sketch"] * 9):
        assert "lora" in refusal(server, lora=value)
    assert draw(server) == plain
    assert server.alive()
