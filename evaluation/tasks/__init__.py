"""The papers' downstream tasks, each with its data, its head and its metrics.

A task (:class:`evaluation.tasks.base.Task`) turns the items of a split into questions, and the
logits of a head into metrics. It knows nothing of encoders: any
:class:`fusion.inference.item_encoder.ItemEncoder` can answer its questions, once
:func:`training.finetuning.finetune` has trained a head for it.
CONTRIBUTING.md says how to add a task.
"""
