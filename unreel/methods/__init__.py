"""One file per method. A method is found by its file name, a preset by the functions that its file lists in PRESETS.

A method's file offers
    Config                 a frozen dataclass of its own options; it inherits views.two_views.TwoViewOptions, which
                           define the two views of an instance
        .check(settings, num_instances)   raises InputError for what can't work
    PRESETS                name -> function returning (Config, Settings); the docstring says what to expect
    Method                 torch module: Method(backbone, instances, config, seed)
        .forward(views)                   -> StepOutput
        .after_step()                     updates after the step of the optimiser (memory bank, queue, teacher)

`path/to/file.py:preset` or `module:preset` names a method outside this folder (docs/own_method.md).
"""
