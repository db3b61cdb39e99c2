"""One matrix product, X·Wᵀ of a layer, beside PyTorch.

    cargo build --release -p samtone-benches --bin product_speed
    python benches/peers/product.py target/release/product_speed [--size 2048x384x1536]
        [--precision f32 bf16] [--threads 2] [--repeat 15]

Rows × inner dimension × columns. A turn is the mean of ten products into the same matrix; in bf16
PyTorch's factors and result are bf16. Needs torch.
"""

import turns

TIMES = 10

parser = turns.parser(__doc__, repeat=15)
parser.add_argument("--size", default="2048x384x1536")
parser.add_argument("--precision", nargs="+", default=["f32"], choices=turns.PRECISIONS)
options = turns.parse(parser)

import torch

torch.set_num_threads(options.threads)
rows, inner, columns = sizes = [int(size) for size in options.size.split("x")]
turns.peers("torch")
samtone = turns.Program(options.program, *sizes, TIMES)
for precision in options.precision:
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    x = torch.randn(rows, inner).to(dtype)
    weight = torch.randn(columns, inner).to(dtype)
    target = torch.empty(rows, columns, dtype=dtype)

    def products():
        for _ in range(TIMES):
            torch.matmul(x, weight.T, out=target)

    sides = {
        "samtone": lambda: samtone(precision),
        "torch.matmul": lambda: turns.timed(products) / TIMES,
    }
    seconds = turns.take(sides, options.repeat, warm=2)
    gflop = 2e-9 * rows * inner * columns
    turns.rows(f"{rows} × {inner} × {columns}", precision, seconds, gflop, "GFLOP/s")
samtone.end()
