"""Studies: many runs, cut into pieces, computed, kept and put together.

    outline, identity, design     what a study is: its names and numbers, its hash, its parts
    grids, specs                  hyper-parameter grids; a study written in TOML
    batch, work, processes        what computes: a batch of pairs, its pieces, many processes
    kept, moments                 what is kept of a batch: every run, or exact moments
    archive, manifest, journal    files that are whole or absent; what a folder is; who does what
    store                         shards on disk, which a later call goes on from
    results, files                the Dataset, and its files
    forecast, status              what a study will take; how far it is
    study, examine                the study; tables of a few of its runs

A file imports from its own line or those above, and from the engine (`pajax.simulate`) below all
of them, which knows nothing of studies.
"""
