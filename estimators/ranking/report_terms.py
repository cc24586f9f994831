"""What the words and the scores on the page of a ranking mean, a sentence or two each."""

from __future__ import annotations

from estimators.ranking.report_facts import MIN_ARCHS

TERMS = {
    "Spearman": "Correlation between the ranks by the score and the ranks by the truth; 1 is the "
    "same order, 0 is chance; ties get their average rank.",
    "Kendall τ-b": "Share of pairs of architectures in the right order minus the share in the "
    "wrong order, corrected for ties.",
    "Pearson": "Correlation of the values themselves; few architectures far from the others can "
    "decide it.",
    "Precision@k": "Share of the k best by the score that are among the k best by the truth.",
    "Top-k regret": "How far the best of the k that the score ranks best lies below the best of "
    "all; 0 means that the best of all is among them.",
    "Mean truth of top k": "Average truth of the k architectures that the score ranks best.",
    "[low, high]": "95 % interval of a bootstrap over the architectures: what other "
    "architectures, drawn alike, would have shown. Of fewer than "
    f"{MIN_ARCHS} resamples are too much alike, so that it says nothing.",
    "±": "Standard deviation over supernets: what another of these supernets would change.",
    "Clear, within noise": "A difference is clear if its 95 % interval lies on one side of 0, "
    "otherwise within noise; both scores see the same resampled architectures. The best of many "
    "scores was chosen by these data and looks a little better here than it is.",
    "B": "Extra training steps of a subnet that starts with the weights it inherits.",
    "Seconds": "Mean wall-clock time of one architecture on the machine that measured; scores of "
    "the same steps share their time, so that several together cost little more than one.",
    "Diverged": "The score was not finite; such an architecture is ranked last.",
    "Racing": "Stopping a candidate once the sum of its losses exceeds the k-th lowest sum "
    "finished so far. Losses are never negative, so it could not have entered the top k, which "
    "stays the very same.",
    "Combined score": "A regression on several scores, fitted to a few architectures of known "
    "truth and judged on the others.",
}

SCORES = {
    "tse": "Minus the sum of the training losses of B extra steps.",
    "tse_e": "Like tse, of the last steps alone: the minibatches of the window in the settings.",
    "tse_ema": "Like tse, where earlier losses count less: by the gamma of the settings for each "
    "minibatch, while the paper's is for each epoch.",
    "tlmini": "Minus the training loss of the last of B extra steps.",
    "sovl": "Minus the sum of validation losses, of one minibatch after each of B extra steps.",
    "val_acc": "Validation accuracy with inherited weights.",
    "val_loss": "Minus the validation loss with inherited weights.",
    "val_acc_after": "Validation accuracy after the extra steps.",
    "val_loss_after": "Minus the validation loss after the extra steps.",
    "grad_norm": "Norms of the gradients of fresh weights, summed.",
    "snip": "Weight times gradient of fresh weights, summed without signs.",
    "grasp": "How removing fresh weights changes the flow of gradients.",
    "fisher": "Fisher information of the channels at fresh weights.",
    "synflow": "Flow through all fresh weights when all are positive, without data.",
    "jacob_cov": "How differently the outputs depend on each image, at fresh weights.",
    "naswot": "How differently the images switch the activations on, at fresh weights.",
    "params": "The number of parameters.",
    "macs": "The number of multiply-accumulates.",
    "benchmark_params": "The number of parameters as the benchmark's table has it, with those of "
    "convolutions that the output does not need.",
    "benchmark_macs": "The number of multiply-accumulates as the benchmark's table has it, with "
    "those of convolutions that the output does not need.",
}
