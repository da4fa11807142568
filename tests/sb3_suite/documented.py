"""Which tests of SB3 and sb3-contrib are left out, and which must fail where a task ends after every ``learn()``, and why."""

# Neither ours nor what ours take the place of
NOT_OURS = {"A2C", "ARS", "CrossQ", "DDPG", "MaskablePPO", "RecurrentPPO", "TD3", "TRPO"}

WARNS_OF_ITS_CLASS = {"test_ppo_warnings"}  # the warning names the class, which is NBSPPPO here

WARM_UP = "after a task the replay buffer is empty and train() waits for the next task's warm-up (reset_replay_buffer)"
MEMORY = "set_parameters() takes a memory of old tasks as optional: the last of the parameters may be missing"
ENTROPY = "a task begins with its entropy coefficient as it was at first (reset_ent_coef)"
EPISODE = "consolidate() scores on the training env, whose running episode is lost"
STEPS = "consolidate() scores on the training env, which steps on meanwhile"
WARNS = "scoring warns of an env whose success and reward never change"

# How what consolidate() refuses begins. A test ends there, as expected.
REFUSALS = ("HerReplayBuffer relabels goals", "optimize_memory_usage=True stores no next observations")

# By package, file and test
EFFECTS = {
    "sb3_contrib/test_cnn::test_feature_extractor_target_net[True-NBSPTQC]": WARM_UP,
    "sb3_contrib/test_cnn::test_feature_extractor_target_net[False-NBSPTQC]": WARM_UP,
    "sb3_contrib/test_cnn::test_feature_extractor_target_net[False-NBSPQRDQN]": WARM_UP,
    "sb3_contrib/test_save_load::test_save_load[NBSPQRDQN]": MEMORY,
    "sb3_contrib/test_save_load::test_save_load[NBSPTQC]": MEMORY,
    "sb3_contrib/test_save_load::test_save_load_pytorch_var": ENTROPY,
    "stable_baselines3/test_cnn::test_features_extractor_target_net[True-NBSPSAC]": WARM_UP,
    "stable_baselines3/test_cnn::test_features_extractor_target_net[False-NBSPSAC]": WARM_UP,
    "stable_baselines3/test_cnn::test_features_extractor_target_net[False-NBSPDQN]": WARM_UP,
    "stable_baselines3/test_logger::test_rollout_success_rate_onpolicy_algo": STEPS,
    "stable_baselines3/test_save_load::test_save_load[NBSPPPO]": MEMORY,
    "stable_baselines3/test_save_load::test_save_load[NBSPSAC]": MEMORY,
    "stable_baselines3/test_save_load::test_save_load[NBSPDQN]": MEMORY,
    "stable_baselines3/test_save_load::test_set_env[NBSPPPO]": EPISODE,
    "stable_baselines3/test_save_load::test_set_env[NBSPSAC]": EPISODE,
    "stable_baselines3/test_save_load::test_set_env[NBSPDQN]": EPISODE,
    "stable_baselines3/test_save_load::test_save_load_pytorch_var": ENTROPY,
    "stable_baselines3/test_save_load::test_warn_buffer[False-NBSPDQN]": WARNS,
    "stable_baselines3/test_save_load::test_warn_buffer[False-NBSPSAC]": WARNS,
    "stable_baselines3/test_save_load::test_warn_buffer[True-NBSPSAC]": WARNS,
    "stable_baselines3/test_vec_envs::test_video_recorder": STEPS,
}
