"""Scan Order in Gibbs Sampling: models in which it matters and bounds on how much (He et al., NIPS 2016).

`models` says what is sampled, `chain` how one update moves, `mixing` how many updates are needed, exactly;
`sampler` draws. All of it is NumPy.
"""
