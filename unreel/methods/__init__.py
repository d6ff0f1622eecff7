"""One file, one method. A method is found by its file name, a preset by the functions that its file lists in PRESETS.

A method's file offers
    Config                 a frozen dataclass of its own options; it inherits views.pair.PairOptions, which say how the
                           two views of an instance are made
        .check(settings, num_instances)   refuses, with a sentence, what can't work
    PRESETS                name -> function returning (Config, Settings); the docstring says what to expect of it
    Method                 torch module: Method(backbone, instances, config, seed)
        .forward(views)                   -> StepOutput
        .after_step()                     what changes only once the optimiser has stepped (memory, queues, teachers)

`package.module` or `package.module:preset` names a method outside this folder.
"""
