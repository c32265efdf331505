"""A simulated Proxmox VE cluster: an own process that answers the HTTPS API from a state that is a function of time.

One direction inside the room, lowest first::

    errors · clock · props          refusals, simulated time, property strings
    state/                          what exists: identities, nodes, guests, storages, pools, the world
    physics/                        what follows from state and time: load, memory, growth, RRD, durations
    tasks/                          work that takes time: the task engine, the tasks of the past, what nodes write down
    seed/                           descriptions of clusters, and the world built from one
    methods/                        small handlers, one per API method, each *behaves* or *reads*
    contract/                       the schema: routes, parameters, permissions, coverage, order of checks
    telemetry/                      metrics and log lines for whoever collects them
    server · reqlog · certs         HTTPS edge
    serve                           options, start, end

It shares no belief with the rest of pveops: of our packages it imports ``pveops.base`` only.
"""
