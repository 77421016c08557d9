import subprocess
import sys

import pytest

CODE = """
import resource
import torch
from mixit_lightning.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(1 << 24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
assert keep_freed_memory()
faults()
assert faults() < given_back / 10, given_back
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_blocks_that_were_freed_are_used_again():
    subprocess.run([sys.executable, "-c", CODE], check=True)
