"""How a model lies on the ranks of a gang: copied, sharded, cut across, cut into stages."""
