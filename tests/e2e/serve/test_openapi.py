"""The document at /openapi.json is true: schemathesis asks what it promises and compares the answers."""
import json
import os
import pathlib
import subprocess
import sys

from conftest import SOAK, data_url, png


def test_document(server):
    reply = server.ask("GET", "/openapi.json")
    document = reply.json
    assert document["openapi"].startswith("3.1") and reply.headers["ETag"]
    # Every path that is promised is there: nothing but a missing job or model is 404.
    for path, operations in document["paths"].items():
        for method in operations:
            allowed = server.ask("OPTIONS", path.replace("{", "").replace("}", "")).headers["Allow"]
            assert method.upper() in allowed, (method, path)


def test_schemathesis(server, tmp_path):
    # Small and quick pictures, and no events of a job that never was.
    document = server.ask("GET", "/openapi.json").json
    schemas = document["components"]["schemas"]
    for name in ("Generation", "Edit", "EditForm", "NewJob", "NewJobForm", "ZaiGeneration"):
        properties = schemas[name]["properties"]
        properties["size"] = {"enum": ["32x32", "40x24", "64×32"]}
        properties["num_inference_steps"] = {"type": "integer", "minimum": 1, "maximum": 3}
        if "n" in properties:
            properties["n"] = {"type": "integer", "minimum": 1, "maximum": 2}
        properties["model"] = {"enum": ["glm-image"]}
        if "images" in properties:
            properties["images"]["items"]["properties"]["image_url"] = {"enum": [data_url(png(40, 48))]}
        schemas[name]["required"] = [*schemas[name]["required"], "size", "num_inference_steps"]
        schemas[name]["required"] += [] if "model" in schemas[name]["required"] else ["model"]
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(document))
    command = [pathlib.Path(sys.executable).parent / "schemathesis", "run", schema, "--url",
               f"http://127.0.0.1:{server.port}", "--max-examples", "200" if SOAK else "3", "--seed", "7",
               "--phases", "examples,coverage,fuzzing" if SOAK else "examples,fuzzing", "--workers", "2",
               "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
               "response_headers_conformance,response_schema_conformance,unsupported_method",
               "--exclude-path-regex", "metrics", "--request-timeout", "60", "--generation-database", "none"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=900,
                            env=dict(os.environ, NO_COLOR="1", HYPOTHESIS_STORAGE_DIRECTORY=str(tmp_path)))
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
