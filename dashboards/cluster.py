"""The cluster page: ``panel serve dashboards/cluster.py``, or better ``pveops up``, which also guards it with a token."""

from pveops.surfaces.dash.page import cluster_page

cluster_page().servable(title="Cluster")
