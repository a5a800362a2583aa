import os
import subprocess
import sys


def test_a_job_stands_behind_other_programs() -> None:
    program = (
        "import os; from embedder.priority import lower_priority; lower_priority();"
        " print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(answer.stdout) >= max(10, os.getpriority(os.PRIO_PROCESS, 0))
