import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.guard.audit.merkle import EMPTY, Tree, included, inclusion_proof, leaf_hash, node_hash, root_of

# The inputs and roots that the Certificate Transparency project publishes for RFC 6962 trees of 1 to 8 leaves.
INPUTS = [
    bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]  # fmt: skip


def grown(leaves):
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree


def test_published_roots():
    assert hashlib.sha256(b"").digest() == EMPTY == Tree().root == root_of([])
    for size, root in enumerate(ROOTS, start=1):
        assert grown(INPUTS[:size]).root.hex() == root
        assert root_of([leaf_hash(data) for data in INPUTS[:size]]).hex() == root


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=8), max_size=70), st.integers(0, 70))
def test_a_tree_that_grows_is_the_tree_by_definition_and_can_be_gone_on_from(data, cut):
    tree = grown(data[:cut])
    resumed = Tree(tree.size, tree.peaks)
    for leaf in data[cut:]:
        resumed.add(leaf)
    assert resumed.root == root_of([leaf_hash(leaf) for leaf in data])
    assert resumed.size == len(data)


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70), st.data())
def test_a_proof_shows_its_leaf_and_no_other(data, draw):
    leaves = [leaf_hash(leaf) for leaf in data]
    index = draw.draw(st.integers(0, len(data) - 1))
    proof, root = inclusion_proof(leaves, index), root_of(leaves)
    assert included(leaves[index], index, len(leaves), proof, root)
    assert not included(leaf_hash(b"other than the rest"), index, len(leaves), proof, root)
    assert not included(leaves[index], index, len(leaves), [*proof, root], root)
    assert not included(leaves[index], len(leaves), len(leaves), proof, root)
    assert not included(leaves[index], index, len(leaves), proof, node_hash(root, root))
    for place in range(len(proof)):
        assert not included(leaves[index], index, len(leaves), proof[:place] + proof[place + 1 :], root)
        assert not included(leaves[index], index, len(leaves), [*proof[:place], root, *proof[place + 1 :]], root)


def test_peaks_must_fit_the_size():
    with pytest.raises(ValueError, match="has 2 peaks, not 1"):
        Tree(3, [EMPTY])
