"""The one way to change anything: tiers, policy, preview, approval, limits, kill switch, execution, audit. States its needs in ``ports``."""
