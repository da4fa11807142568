"""
Checkpoints that hold everything: a run that goes on from one is, bit for bit, the run that was never stopped.

    run/checkpoints/store/<sha256>.npz    what does not change: memories of finished tasks, stretches of the replay buffer
    run/checkpoints/0000050000/           the model, its state, and a manifest with sizes and checksums

It knows SB3's models and what ours add by name, and is told when nothing is in flight (:mod:`.safe_point`).
"""
