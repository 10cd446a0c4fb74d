"""What generated requests need so that a node answers some of them: a model that is there, and short answers."""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        body["model"] = "default" if len(body["model"]) % 4 else body["model"]
        for name in ("max_tokens", "max_completion_tokens"):
            if isinstance(body.get(name), int) and body[name] > 16:
                body[name] = 16
        if "messages" in body and "max_completion_tokens" not in body:
            body.setdefault("max_tokens", 16)
        if isinstance(body.get("n"), int) and body["n"] > 3:
            body["n"] = 3
    return body
