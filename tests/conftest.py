"""One torch thread: the networks here are tiny, and the machine is shared."""

import torch as th

th.set_num_threads(1)
