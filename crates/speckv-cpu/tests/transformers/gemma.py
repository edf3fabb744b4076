"""Makes `gemma.json`: what the `transformers` library expects after tokens of the Apache licence,
from the catalogue's Gemma-3-270M.

    pip install torch transformers gguf accelerate
    llama-server -m FOLDER/gemma3-270m.gguf --port 8080 &
    python gemma.py FOLDER ../../../../LICENSE-APACHE http://localhost:8080 > gemma.json

The tokens are llama.cpp's (the library's own conversion of a GGUF vocabulary splits runs of spaces
otherwise). The library decodes the file's weights to float32 and computes in float32, on the CPU.
Of Gemma's 18 layers, 15 see the last 512 positions only: the later ones of these positions tell
whether they do.
"""

import json
import sys
import urllib.request

import torch
import transformers


def main(folder, text, server):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file="gemma3-270m.gguf", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    question = json.dumps(dict(content=open(text).read(), add_special=True)).encode()
    request = urllib.request.Request(
        f"{server}/tokenize", question, {"Content-Type": "application/json"}
    )
    tokens = json.load(urllib.request.urlopen(request))["tokens"][:900]
    with torch.no_grad():
        rows = torch.log_softmax(model(torch.tensor([tokens])).logits[0].double(), -1)
    positions = []
    for position in list(range(10, 500, 49)) + list(range(530, 899, 12)):
        best, ids = rows[position].topk(2)
        positions.append(
            [
                position,
                ids[0].item(),
                round(best[0].item(), 4),
                round(best[1].item(), 4),
                round(rows[position, tokens[position + 1]].item(), 4),
            ]
        )
    made_by = f"transformers {transformers.__version__}, torch {torch.__version__}"
    columns = [
        "position",
        "likeliest token",
        "its ln p",
        "ln p of the second",
        "ln p of the token that follows",
    ]
    print(
        json.dumps(
            dict(made_by=made_by, tokens=tokens, columns=columns, positions=positions),
            separators=(",", ":"),
        )
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
