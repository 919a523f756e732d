"""Questions about lineages, one module a question: each takes `Grown` lineages and answers with frozen records.

    why             the gate decisions that made a generation champion
    difference      what differs between two generations
    sampled         answers of one generation, by reward or by the reason they were dropped
    trace           which model made a sample, how it was judged, who was trained on it
    taint           everything downstream of a generation, a verifier, a data set, a model
    contamination   held-out prompts that a generation or its ancestors were trained on
    comparison      several lineages side by side

Left out: making a generation again (`bootstrap/reproduction.py`), the class `Lineage` that people use
(`bootstrap/api.py`), and what a terminal shows (`cli/answers.py`).
"""
