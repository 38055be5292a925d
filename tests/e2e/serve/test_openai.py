"""The openai package against the server."""
import base64
import json
import os
import subprocess

import httpx2
import openai
import pytest

from conftest import CHECKPOINT, PROGRAM, data_url, png

SMALL = {"size": "64x64", "model": "glm-image"}


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0)


def size_of(picture):
    assert picture.startswith(b"\x89PNG")
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


def test_generate(client):
    answer = client.images.generate(prompt="a red cat", n=2, extra_body={"seed": 7}, **SMALL)
    pictures = [base64.b64decode(item.b64_json) for item in answer.data]
    assert [size_of(p) for p in pictures] == [(64, 64)] * 2
    assert pictures[0] != pictures[1]
    assert (answer.size, answer.output_format, answer.quality, answer.background) == ("64x64", "png", "high", "opaque")
    usage = answer.usage
    assert usage.input_tokens_details.text_tokens == usage.input_tokens > 0
    assert usage.output_tokens % 2 == 0 and usage.output_tokens > 8  # 2 x 2 tokens each, and their drafts
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def test_same_seed_same_picture_other_seed_other_picture(client):
    def draw(seed, **more):
        return client.images.generate(prompt="a cat", extra_body={"seed": seed, **more}, **SMALL).data[0].b64_json
    first = draw(5)
    assert draw(5) == first
    assert draw(6) != first
    assert draw(5, num_inference_steps=5) != first
    assert draw(5, guidance_scale=4.0) != first
    assert draw(5, temperature=0) != first


def test_url(client, server):
    url = client.images.generate(prompt="a cat", response_format="url", **SMALL).data[0].url
    answer = httpx2.get(url)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert size_of(answer.content) == (64, 64)
    assert httpx2.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert httpx2.get(url.replace("/0.png", "/1.png")).status_code == 404


@pytest.mark.parametrize("form, magic", [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_formats(client, form, magic):
    answer = client.images.generate(prompt="a cat", output_format=form, output_compression=80, **SMALL)
    assert answer.output_format == form
    assert base64.b64decode(answer.data[0].b64_json).startswith(magic)


def test_odd_size_is_cropped(client):
    picture = client.images.generate(prompt="a cat", size="50x70").data[0].b64_json
    assert size_of(base64.b64decode(picture)) == (50, 70)


def test_edit_with_two_pictures(client, server):
    pictures = [("a.png", png(colour=(9, 200, 9))), ("b.png", png(96, 64))]
    answer = client.images.edit(image=pictures, prompt="both of them", extra_body={"seed": 3}, **SMALL)
    assert size_of(base64.b64decode(answer.data[0].b64_json)) == (64, 64)
    assert answer.usage.input_tokens_details.image_tokens > 0
    # The same in JSON is the same picture; with the pictures changed about it is another.
    def by_json(order):
        body = {"prompt": "both of them", "seed": 3, "size": "64x64",
                "images": [{"image_url": data_url(p)} for _, p in order]}
        return server.ask("POST", "/v1/images/edits", body).json["data"][0]["b64_json"]
    assert by_json(pictures) == answer.data[0].b64_json
    assert by_json(pictures[::-1]) != answer.data[0].b64_json


def test_edit_with_one_picture(client):
    answer = client.images.edit(image=("a.png", png()), prompt="make it night", **SMALL)
    assert len(answer.data) == 1


def test_stream_of_partial_pictures(client):
    events = list(client.images.generate(prompt="a cat", stream=True, partial_images=2, extra_body={"seed": 9}, **SMALL))
    kinds = [event.type for event in events]
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert [event.partial_image_index for event in partial] == [0]  # two steps have one step between
    assert size_of(base64.b64decode(partial[0].b64_json)) == (64, 64)
    assert kinds[-1] == "image_generation.completed" and kinds.count(kinds[-1]) == 1
    assert events[-1].usage.output_tokens > 0
    whole = client.images.generate(prompt="a cat", extra_body={"seed": 9}, **SMALL)
    assert events[-1].b64_json == whole.data[0].b64_json
    assert partial[0].b64_json != whole.data[0].b64_json


def test_partial_pictures_have_the_format_asked_for(client):
    events = list(client.images.generate(prompt="a cat", stream=True, partial_images=1, output_format="jpeg", **SMALL))
    pictures = [e for e in events if e.type in ("image_generation.partial_image", "image_generation.completed")]
    assert [e.output_format for e in pictures] == ["jpeg"] * 2
    assert all(base64.b64decode(e.b64_json).startswith(b"\xff\xd8\xff") for e in pictures)


def test_stream_tells_of_visual_tokens_before(client):
    events = list(client.images.generate(prompt="a cat", stream=True, partial_images=1, n=1, size="128x128",
                                         extra_body={"num_inference_steps": 4}))
    progress = [e for e in events if e.type == "image_generation.progress"]
    written = [e for e in progress if e.stage == "visual_tokens"]
    assert written and written[-1].total > 16
    assert all(a.done <= b.done for a, b in zip(written, written[1:]))
    assert [e.type for e in events].index("image_generation.partial_image") > events.index(written[-1])


def test_stream_without_partial_pictures_is_one_event(client):
    events = list(client.images.generate(prompt="a cat", stream=True, partial_images=0, **SMALL))
    assert [event.type for event in events] == ["image_generation.completed"]


def test_stream_of_an_edit(client):
    events = list(client.images.edit(image=("a.png", png()), prompt="x", stream=True, partial_images=1, **SMALL))
    assert {e.type.split(".")[0] for e in events} == {"image_edit"}
    assert events[-1].type == "image_edit.completed"


def test_models(client):
    assert [model.id for model in client.models.list()] == ["glm-image"]
    assert client.models.retrieve("glm-image").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")


@pytest.mark.parametrize("change, error, param", [
    ({"n": 11}, openai.BadRequestError, "n"),
    ({"size": "huge"}, openai.BadRequestError, "size"),
    ({"size": "8192x8192"}, openai.BadRequestError, "size"),
    ({"prompt": " "}, openai.BadRequestError, "prompt"),
    ({"prompt": "x" * 32001}, openai.BadRequestError, "prompt"),
    ({"background": "transparent"}, openai.BadRequestError, "background"),
    ({"extra_body": {"seed": -1}}, openai.BadRequestError, "seed"),
    ({"extra_body": {"top_p": 0}}, openai.BadRequestError, "top_p"),
    ({"extra_body": {"negative_prompt": "dogs"}}, openai.BadRequestError, "negative_prompt"),
    ({"extra_body": {"lora": "anime"}}, openai.BadRequestError, "lora"),
    ({"extra_body": {"sede": 1}}, openai.BadRequestError, "sede"),
    ({"partial_images": 1}, openai.BadRequestError, "partial_images"),
    ({"model": "flux"}, openai.NotFoundError, "model"),
])
def test_errors(client, change, error, param):
    with pytest.raises(error) as caught:
        client.images.generate(**{"prompt": "a cat", **SMALL, **change})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert param in caught.value.message


def test_other_models_names_are_taken(client):
    assert client.images.generate(prompt="a cat", model="gpt-image-2", size="64x64").data[0].b64_json
    assert client.images.generate(prompt="a cat", model="dall-e-3", size="64x64").data[0].url


def test_broken_pictures(client):
    for picture in (b"", b"GIF89a", png()[:20], png(declared=(20000, 20000)), png(declared=(16000, 16000))):
        with pytest.raises(openai.BadRequestError) as caught:
            client.images.edit(image=("a.png", picture), prompt="x", **SMALL)
        assert caught.value.param == "image"
    # A header that is in order, pixels that are not: found when it is drawn.
    with pytest.raises(openai.BadRequestError):
        client.images.edit(image=("a.png", png()[:-40]), prompt="x", **SMALL)
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(image=[("a.png", png())] * 17, prompt="x", **SMALL)
    assert caught.value.code == "too_many_images"
    with pytest.raises(openai.BadRequestError):
        client.images.edit(image=("a.png", png()), mask=("m.png", png()), prompt="x", **SMALL)


def test_pictures_say_what_they_are(client, server, tmp_path):
    answer = client.images.generate(prompt="a cat in a hat", size="96x64", extra_body={"seed": 4, "guidance_scale": 2})
    picture = tmp_path / "a.png"
    picture.write_bytes(base64.b64decode(answer.data[0].b64_json))
    told = json.loads(subprocess.run([PROGRAM, "inspect", picture, "--json"], check=True, capture_output=True).stdout)
    text = json.dumps(told)
    assert "a cat in a hat" in text and "trainedAlgorithmicMedia" in text and "ContentProducer" in text
    # The command line draws it again, from what is in the file alone.
    again = tmp_path / "b.png"
    subprocess.run([PROGRAM, "generate", "--from", picture, "--model", CHECKPOINT, "--output", again, "--threads", "1",
                    "--quiet"], check=True, env=dict(os.environ, OMP_NUM_THREADS="1"))
    assert again.read_bytes() == picture.read_bytes()


def test_no_label_and_no_recipe_where_told(start):
    one = start("--label", "none", "--no-recipe")
    picture = base64.b64decode(one.ask("POST", "/v1/images/generations", {"prompt": "a cat in a hat", "size": "64x64"}
                                       ).json["data"][0]["b64_json"])
    assert b"AIGC" not in picture and b"a cat" not in picture
