"""#Exploration: a study of count-based exploration for deep reinforcement learning (Tang et al., arXiv 2016).

`hashing` turns states into codes, `counting` counts them, `features` prepares screens, `bonus` adds the exploration
bonus to an environment's reward.
"""
